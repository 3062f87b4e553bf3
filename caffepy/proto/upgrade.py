"""Old formats made current, as Caffe's upgrade_proto.cpp does: V0 and V1 layers, input fields, solver types.

After them what forks spell their own way.
"""

from itertools import zip_longest

from caffepy.errors import ProtoError
from caffepy.proto.caffe_pb2 import BlobShape, LayerParameter, NetParameter, SolverParameter, V1LayerParameter
from caffepy.proto.upgrade_forks import upgrade_forks
from caffepy.proto.upgrade_v0 import upgrade_v0

_V1_SPELLED = {  # the other types are their words in capitals run together: INNER_PRODUCT, InnerProduct
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BN": "BN",
    "BNLL": "BNLL",
    "CONVOLUTION3D": "Convolution3D",
    "DECONVOLUTION3D": "Deconvolution3D",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "LSTM": "LSTM",
    "LSTM_UNIT": "LSTMUnit",
    "MVN": "MVN",
    "POOLING3D": "Pooling3D",
    "PRELU": "PReLU",
    "RELU": "ReLU",
    "ROIPOOLING": "ROIPooling",
    "SMOOTH_L1_LOSS": "SmoothL1Loss",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPP": "SPP",
    "TANH": "TanH",
}
_DATA_LAYERS = {
    V1LayerParameter.DATA: "data_param",
    V1LayerParameter.IMAGE_DATA: "image_data_param",
    V1LayerParameter.WINDOW_DATA: "window_data_param",
}
_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")
_PARAM_SPEC = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
_V1_ONLY = {"layer", "type", *_PARAM_SPEC}
_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def upgrade_net(param: NetParameter) -> list[str]:
    """Bring a net of any age to the current format, in place; says what was changed, nothing for a current net.

    Raises ProtoError for a net that mixes `layer` and `layers`, has input dimensions that do not fit its inputs, has a
    V0 layer that Caffe cannot upgrade either, a fork's padding that depends on the size of the bottom, or a setting
    that the field of today cannot hold.
    """
    try:
        return _upgrade_net(param)
    except ProtoError:
        raise
    except ValueError as error:  # of the message that is written to
        raise ProtoError(f"an old setting does not fit the field that has its place today: {error}") from error


def _upgrade_net(param: NetParameter) -> list[str]:
    notes = []
    if param.layer and param.layers:
        raise ProtoError(
            f"the net has both `layer` ({param.layer[0].name!r}, ...) and `layers` ({_name(param.layers[0])!r}, ...): "
            "Caffe would drop every `layer`; write all of them as `layer`, with types as strings"
        )
    if any(layer.HasField("layer") for layer in param.layers):
        notes += ["layers upgraded from the V0 format", *upgrade_v0(param)]
    notes += [_move_transform(layer) for layer in param.layers if _has_old_transform(layer)]
    if param.layers:
        param.layer.extend(_upgrade_v1(layer) for layer in param.layers)
        notes.append(f"{len(param.layers)} layers upgraded from `layers` to `layer`")
        param.ClearField("layers")
    if param.input:
        notes.append(_upgrade_input(param))
    notes += upgrade_forks(param)
    notes += [_freeze_batch_norm(layer) for layer in param.layer if _has_old_batch_norm(layer)]
    return notes


def upgrade_solver(param: SolverParameter) -> list[str]:
    """Bring a solver to the current format, in place: solver_type, a number, becomes type, a string.

    Nets written inside the solver are upgraded too. Says what was changed. Raises ProtoError if both are given.
    """
    notes = []
    if param.HasField("solver_type"):
        old = SolverParameter.SolverType.Name(param.solver_type)
        if param.HasField("type"):
            raise ProtoError(f"the solver has both solver_type ({old}) and type ({param.type!r}); remove solver_type")
        param.type = _SOLVER_TYPES[old]
        param.ClearField("solver_type")
        notes.append(f"solver_type: {old} upgraded to type: {param.type!r}")
    inside = [getattr(param, name) for name in ("net_param", "train_net_param") if param.HasField(name)]
    for net in [*inside, *param.test_net_param]:
        notes += upgrade_net(net)
    return notes


def _name(layer: V1LayerParameter) -> str:
    return layer.name or layer.layer.name


def _has_old_transform(layer: V1LayerParameter) -> bool:
    settings = getattr(layer, _DATA_LAYERS.get(layer.type, ""), None)
    return settings is not None and any(settings.HasField(name) for name in _TRANSFORM)


def _move_transform(layer: V1LayerParameter) -> str:
    """scale, mean_file, crop_size and mirror go from a data layer's own settings to transform_param."""
    settings = getattr(layer, _DATA_LAYERS[layer.type])
    moved = [name for name in _TRANSFORM if settings.HasField(name)]
    for name in moved:
        setattr(layer.transform_param, name, getattr(settings, name))
        settings.ClearField(name)
    return f"layer {layer.name!r}: {', '.join(moved)} moved to transform_param"


def _upgrade_v1(old: V1LayerParameter) -> LayerParameter:
    """The same layer in the current format: most fields keep their names, four lists become `param`."""
    same = {field.name: value for field, value in old.ListFields() if field.name not in _V1_ONLY}
    layer = LayerParameter(**same)
    if old.HasField("type"):
        name = V1LayerParameter.LayerType.Name(old.type)
        layer.type = _V1_SPELLED.get(name, "".join(word.capitalize() for word in name.split("_")))
    for values in zip_longest(*(getattr(old, name) for name in _PARAM_SPEC)):
        spec = layer.param.add()
        for name, value in zip(_PARAM_SPEC.values(), values, strict=True):
            if value is not None:
                setattr(spec, name, value)
    return layer


def _upgrade_input(param: NetParameter) -> str:
    """`input` fields become one layer of type Input, put first; without dimensions they only go, as in Caffe.

    Old Caffe left the dimensions out of the .caffemodels it wrote. C3D gives five for each input.
    """
    names, shapes = list(param.input), list(param.input_shape)
    kind = "input_shape"
    if not shapes:
        dims, kind = list(param.input_dim), "groups of 4 input_dim"
        axes = 5 if len(dims) == 5 * len(names) else 4
        shapes = [BlobShape(dim=dims[at : at + axes]) for at in range(0, len(dims) - axes + 1, axes)]
    if len(shapes) < len(names) and (shapes or param.input_dim):
        raise ProtoError(f"the net has {len(names)} input ({', '.join(names)}) and {len(shapes)} {kind}; give one each")
    if shapes:
        first = LayerParameter(name="input", type="Input", top=names)
        first.input_param.shape.extend(shapes[: len(names)])
        whole = NetParameter(layer=[first, *param.layer])
        param.ClearField("layer")
        param.layer.extend(whole.layer)
    for name in ("input", "input_shape", "input_dim"):
        param.ClearField(name)
    return f"input {', '.join(names)} " + (
        "upgraded to a layer of type Input" if shapes else "dropped: it has no shape"
    )


def _has_old_batch_norm(layer: LayerParameter) -> bool:
    return layer.type == "BatchNorm" and len(layer.param) == 3 and any(s.lr_mult or s.decay_mult for s in layer.param)


def _freeze_batch_norm(layer: LayerParameter) -> str:
    """BatchNorm's three blobs are statistics: the solver must not touch them, whatever an old prototxt says."""
    for spec in layer.param:
        spec.lr_mult = spec.decay_mult = 0
    return f"layer {layer.name!r}: lr_mult and decay_mult of BatchNorm's statistics set to 0"
