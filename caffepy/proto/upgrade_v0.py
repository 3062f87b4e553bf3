"""V0 layers made V1 layers: one flat message per layer becomes settings by type, padding layers become `pad`."""

from difflib import get_close_matches

from google.protobuf.descriptor import FieldDescriptor

from caffepy.errors import ProtoError
from caffepy.proto.caffe_pb2 import NetParameter, V0LayerParameter, V1LayerParameter

_TYPES = {  # the type's name in V1, and its settings if a V0 layer could have any
    "accuracy": ("ACCURACY", ""),
    "bnll": ("BNLL", ""),
    "concat": ("CONCAT", "concat_param"),
    "conv": ("CONVOLUTION", "convolution_param"),
    "data": ("DATA", "data_param"),
    "dropout": ("DROPOUT", "dropout_param"),
    "euclidean_loss": ("EUCLIDEAN_LOSS", ""),
    "flatten": ("FLATTEN", ""),
    "hdf5_data": ("HDF5_DATA", "hdf5_data_param"),
    "hdf5_output": ("HDF5_OUTPUT", "hdf5_output_param"),
    "im2col": ("IM2COL", ""),
    "images": ("IMAGE_DATA", "image_data_param"),
    "infogain_loss": ("INFOGAIN_LOSS", "infogain_loss_param"),
    "innerproduct": ("INNER_PRODUCT", "inner_product_param"),
    "lrn": ("LRN", "lrn_param"),
    "multinomial_logistic_loss": ("MULTINOMIAL_LOGISTIC_LOSS", ""),
    "pool": ("POOLING", "pooling_param"),
    "relu": ("RELU", ""),
    "sigmoid": ("SIGMOID", ""),
    "softmax": ("SOFTMAX", ""),
    "softmax_loss": ("SOFTMAX_LOSS", ""),
    "split": ("SPLIT", ""),
    "tanh": ("TANH", ""),
    "window_data": ("WINDOW_DATA", "window_data_param"),
}
_RENAMED = {
    "biasterm": "bias_term",
    "kernelsize": "kernel_size",
    "batchsize": "batch_size",
    "shuffle_images": "shuffle",
    "det_fg_threshold": "fg_threshold",
    "det_bg_threshold": "bg_threshold",
    "det_fg_fraction": "fg_fraction",
    "det_context_pad": "context_pad",
    "det_crop_mode": "crop_mode",
}
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_SHARED = ("name", "blobs", "blobs_lr", "weight_decay")


def upgrade_v0(param: NetParameter) -> list[str]:
    """Make every V0 layer of the net a V1 layer, in place; says what was folded or dropped.

    Raises ProtoError for a type V0 does not have and for padding that no conv or pool layer can take over.
    """
    notes = _fold_padding(param)
    for layer in param.layers:
        if layer.HasField("layer"):
            old = V0LayerParameter()
            old.CopyFrom(layer.layer)
            layer.ClearField("layer")
            notes += _upgrade_layer(old, layer)
    return notes


def _fold_padding(param: NetParameter) -> list[str]:
    """Remove padding layers; the conv or pool layer after each gets its bottom and its pad."""
    notes = []
    producer: dict[str, V1LayerParameter | None] = dict.fromkeys(param.input)
    for layer in param.layers:
        for index, bottom in enumerate(layer.bottom):
            if bottom not in producer:
                raise ProtoError(
                    f"layer {layer.layer.name!r}: no layer before it makes its bottom {bottom!r}; the blobs there are "
                    f"{', '.join(producer) or 'none'}"
                )
            source = producer[bottom]
            if source is not None and source.layer.type == "padding":
                _take_over(layer, index, source)
                notes.append(f"padding layer {source.layer.name!r} folded into {layer.layer.name!r}")
        producer.update(dict.fromkeys(layer.top, layer))
    kept = NetParameter(layers=[layer for layer in param.layers if layer.layer.type != "padding"])
    param.ClearField("layers")
    param.layers.extend(kept.layers)
    return notes


def _take_over(layer: V1LayerParameter, index: int, padding: V1LayerParameter) -> None:
    where = f"layer {layer.layer.name!r} (V0 {layer.layer.type})"
    if layer.layer.type not in ("conv", "pool") or len(layer.bottom) != 1:
        raise ProtoError(
            f"{where}: padding layer {padding.layer.name!r} can only come before a conv or pool layer with one bottom"
        )
    if len(padding.bottom) != 1 or len(padding.top) != 1:
        raise ProtoError(f"{where}: padding layer {padding.layer.name!r} must have one bottom and one top")
    layer.layer.pad = padding.layer.pad
    layer.bottom[index] = padding.bottom[0]


def _upgrade_layer(old: V0LayerParameter, layer: V1LayerParameter) -> list[str]:
    """Spread the flat settings `old` over `layer`; says which have no meaning for its type."""
    settings = ""
    if old.HasField("type"):
        if old.type not in _TYPES:
            near = get_close_matches(old.type, _TYPES, 1)
            raise ProtoError(
                f"layer {old.name!r}: V0 has no type {old.type!r}"
                + (f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(_TYPES)}")
            )
        name, settings = _TYPES[old.type]
        layer.type = getattr(V1LayerParameter, name)
    for name in _SHARED:
        layer.ClearField(name)
    layer.MergeFrom(V1LayerParameter(**{f.name: value for f, value in old.ListFields() if f.name in _SHARED}))
    return [
        f"layer {old.name!r}: {field.name} has no meaning for type {old.type!r} and is dropped"
        for field, value in old.ListFields()
        if field.name not in ("type", *_SHARED) and not _set(layer, settings, field, value)
    ]


def _set(layer: V1LayerParameter, settings: str, field: FieldDescriptor, value: object) -> bool:
    """Give the layer a V0 setting; False if its type has no such setting."""
    if field.name in _TRANSFORM:
        setattr(layer.transform_param, _TRANSFORM[field.name], value)
        return True
    if field.name == settings:
        getattr(layer, settings).CopyFrom(value)
        return True
    name = _RENAMED.get(field.name, field.name)
    if not settings or name not in getattr(layer, settings).DESCRIPTOR.fields_by_name:
        return False
    target = getattr(layer, settings)
    if field.message_type:
        getattr(target, name).CopyFrom(value)
    elif isinstance(value, int) and not isinstance(getattr(target, name), int):
        getattr(target, name).append(value)  # convolution_param has one pad, kernel_size and stride for each axis
    else:
        setattr(target, name, value)
    return True
