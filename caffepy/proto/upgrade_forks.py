"""Fields that forks added to Caffe's own messages, put into Caffe's words: paddings, rounding, colours, ReLU6."""

from typing import NamedTuple

from caffepy.errors import ProtoError
from caffepy.proto.caffe_pb2 import (
    ConvolutionParameter,
    EltwiseParameter,
    LayerParameter,
    NetParameter,
    PoolingParameter,
)
from caffepy.proto.upgrade_windows import spell_windows

_SIDES = ("pad_l", "pad_r", "pad_t", "pad_b")
_LOWEST = -3.4028234663852886e38  # -FLT_MAX: never the maximum of a window


class _Sides(NamedTuple):
    """What is padded on each side."""

    left: int
    right: int
    top: int
    bottom: int


def upgrade_forks(param: NetParameter) -> list[str]:
    """Replace what Caffe says in other words, in place; says what was changed.

    ceil_mode becomes round_mode, images_in_color is_color, relu6 the type ReLU6, EltwiseAccuracy Accuracy,
    EltwiseProduct Eltwise, VoxelSoftmax Softmax, AVE_EXC_PAD without a padding AVE, windows as `spell_windows` says;
    pad_l, pad_r, pad_t, pad_b and pad_type become pad_h and pad_w, or a layer of type Pad put
    before. Raises ProtoError for a padding that cannot be told beforehand, or AVE_EXC_PAD with one.
    """
    notes: list[str] = []
    layers: list[LayerParameter] = []
    for layer in param.layer:
        notes += [f"layer {layer.name!r}: {note}" for note in (*_respell(layer), *spell_windows(layer))]
        if _pads_sides(layer):
            pads = _even_padding(layer)
            notes.append(
                f"layer {layer.name!r}: padding of each side upgraded to " + ("Pad" if pads else "pad_h, pad_w")
            )
            layers += pads
        layers.append(layer)
    if len(layers) > len(param.layer):
        whole = NetParameter(layer=layers)
        param.ClearField("layer")
        param.layer.extend(whole.layer)
    return notes


def _respell(layer: LayerParameter) -> list[str]:
    notes: list[str] = []
    pooling, image, relu = layer.pooling_param, layer.image_data_param, layer.relu_param
    if pooling.HasField("ceil_mode"):
        if not pooling.HasField("round_mode"):
            pooling.round_mode = PoolingParameter.CEIL if pooling.ceil_mode else PoolingParameter.FLOOR
        pooling.ClearField("ceil_mode")
        notes.append("ceil_mode upgraded to round_mode")
    if image.HasField("images_in_color"):
        image.is_color = image.images_in_color
        image.ClearField("images_in_color")
        notes.append("images_in_color upgraded to is_color")
    if relu.HasField("relu6"):
        if relu.relu6:
            layer.type = "ReLU6"
        relu.ClearField("relu6")
        notes.append("relu6 upgraded to the type")
    if layer.type == "EltwiseAccuracy":
        old = layer.eltwise_accuracy_param
        layer.type, layer.accuracy_param.top_k = "Accuracy", old.top_k
        if old.HasField("ignore_label"):
            layer.accuracy_param.ignore_label = old.ignore_label
        layer.ClearField("eltwise_accuracy_param")
        notes.append("EltwiseAccuracy upgraded to Accuracy")
    if layer.type == "EltwiseProduct":
        layer.type, layer.eltwise_param.operation = "Eltwise", EltwiseParameter.PROD
        notes.append("EltwiseProduct upgraded to Eltwise")
    if layer.type == "VoxelSoftmax":
        layer.type = "Softmax"
        notes.append("VoxelSoftmax upgraded to Softmax")
    return notes


def _window(layer: LayerParameter) -> ConvolutionParameter | PoolingParameter:
    return layer.pooling_param if layer.HasField("pooling_param") else layer.convolution_param


def _pads_sides(layer: LayerParameter) -> bool:
    window = _window(layer)
    without = isinstance(window, PoolingParameter) and window.pool == PoolingParameter.AVE_EXC_PAD
    return without or any(window.HasField(name) for name in ("pad_type", *_SIDES))


def _even_padding(layer: LayerParameter) -> list[LayerParameter]:
    """Make the padding of four sides pad_h and pad_w, or else the layer to put before, which is returned."""
    window = _window(layer)
    sides = _same(layer.name, window) if window.pad_type else _Sides(*(getattr(window, name) for name in _SIDES))
    for name in ("pad_type", *_SIDES):
        window.ClearField(name)
    value = 0.0
    if isinstance(window, PoolingParameter):
        if window.pool == PoolingParameter.AVE_EXC_PAD:
            if any(sides) or window.pad or window.pad_h or window.pad_w:
                raise ProtoError(f"layer {layer.name!r}: AVE_EXC_PAD is known without padding only; use AVE")
            window.pool = PoolingParameter.AVE
        value = _LOWEST if window.pool == PoolingParameter.MAX else 0.0
    if not any(sides):
        return []
    window.ClearField("pad")
    window.ClearField("pad_h")
    window.ClearField("pad_w")
    if sides.left == sides.right and sides.top == sides.bottom:
        window.pad_h, window.pad_w = sides.top, sides.left
        return []
    if len(layer.bottom) != 1:
        raise ProtoError(f"layer {layer.name!r}: uneven padding {sides} needs one bottom, got {[*layer.bottom]}")
    pad = LayerParameter(name=f"{layer.name}_pad", type="Pad", bottom=layer.bottom[:1], top=[f"{layer.name}_pad"])
    pad.include.extend(layer.include)
    pad.exclude.extend(layer.exclude)
    pad.pad_param.paddings.extend([0, 0, 0, 0, sides.top, sides.bottom, sides.left, sides.right])
    pad.pad_param.constant_values = value
    layer.bottom[0] = pad.top[0]
    return [pad]


def _same(name: str, window: ConvolutionParameter | PoolingParameter) -> _Sides:
    """pad_type: 1, TensorFlow's SAME: a top as large as the bottom. With a stride it depends on the bottom's size."""
    sizes = [window.kernel_size] if isinstance(window, PoolingParameter) else list(window.kernel_size)
    strides = [window.stride] if isinstance(window, PoolingParameter) else list(window.stride)
    dilations = [] if isinstance(window, PoolingParameter) else list(window.dilation)
    if any(stride > 1 for stride in (*strides, window.stride_h, window.stride_w)):
        raise ProtoError(f"layer {name!r}: pad_type: 1 with a stride is not known; give pad_l, pad_r, pad_t and pad_b")
    around = []
    for axis, own in ((-1, window.kernel_w), (0, window.kernel_h)):
        size = own or (sizes[axis] if sizes else 1)
        over = (size - 1) * (dilations[axis] if dilations else 1)
        around += [over // 2, over - over // 2]
    return _Sides(*around)
