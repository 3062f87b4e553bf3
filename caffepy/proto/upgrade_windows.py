"""Windows of forks put into one form: of three and more axes, dilated, with every axis in a field of its own."""

from collections.abc import Iterable

from caffepy.proto.caffe_pb2 import BlobShape, ConvolutionParameter, LayerParameter, PoolingParameter

_TYPES = {
    f"{prefix}{name}{suffix}": name
    for name in ("Convolution", "Deconvolution", "Pooling")
    for prefix, suffix in (("", "3D"), ("Nd", ""))
}
_SHAPES = {"kernel_shape": "kernel_size", "stride_shape": "stride", "pad_shape": "pad"}
_DEPTHS = {"kernel_depth": "kernel_shape", "temporal_stride": "stride_shape", "temporal_pad": "pad_shape"}
_PAIRS = {"kernel_shape": "kernel", "stride_shape": "stride", "pad_shape": "pad"}


def spell_windows(layer: LayerParameter) -> list[str]:
    """Replace a fork's window by Caffe's fields, or those of N-d pooling, in place; says what was changed.

    Types with 3D or Nd (C3D, video-caffe) become Caffe's; convolution3d_param and pooling3d_param its messages;
    kernel_depth, temporal_stride and temporal_pad the first of three axes. Convolution gets a kernel_size, stride and
    pad for each axis, Pooling a kernel_shape, stride_shape and pad_shape, also where kernel_size, stride or pad is
    given several times. hole (DeepLab) and kstride (OpenCL Caffe) become dilation.
    """
    notes = []
    if layer.type in _TYPES:
        notes.append(f"type {layer.type} upgraded to {_TYPES[layer.type]}")
        _move_params(layer)
        if layer.type.endswith("3D"):
            _add_depth(_window(layer))
        layer.type = _TYPES[layer.type]
    if layer.HasField("convolution_param"):
        notes += _spell_convolution(layer.convolution_param)
    repeated = [setting for setting in layer.unread if _repeats(setting.owner, setting.name)]
    if repeated and layer.HasField("pooling_param"):
        _spell_pooling(layer.pooling_param, [(setting.name, int(setting.value)) for setting in repeated])
        kept = [setting for setting in layer.unread if not _repeats(setting.owner, setting.name)]
        layer.ClearField("unread")
        layer.unread.extend(kept)
        notes.append("kernel_size, stride and pad of several axes upgraded to kernel_shape, stride_shape and pad_shape")
    return notes


def _window(layer: LayerParameter) -> ConvolutionParameter | PoolingParameter:
    return layer.pooling_param if layer.type == "Pooling3D" else layer.convolution_param


def _move_params(layer: LayerParameter) -> None:
    for old in ("convolution3d_param", "pooling3d_param"):
        if layer.HasField(old):
            getattr(layer, old.replace("3d", "")).MergeFrom(getattr(layer, old))
            layer.ClearField(old)


def _add_depth(window: ConvolutionParameter | PoolingParameter) -> None:
    """C3D's three axes, in kernel_shape, stride_shape and pad_shape."""
    for depth, shape in _DEPTHS.items():
        name, pair = _SHAPES[shape], _PAIRS[shape]
        given = getattr(window, name)
        alike = given if isinstance(given, int) else next(iter(given), 0 if pair == "pad" else 1)
        axes = [getattr(window, f"{pair}_{side}") or alike for side in "hw"]
        first = getattr(window, depth) or (1 if depth == "kernel_depth" else 0)
        for field in (name, f"{pair}_h", f"{pair}_w", depth):
            window.ClearField(field)
        getattr(window, shape).dim.extend([first, *axes])


def _spell_convolution(window: ConvolutionParameter) -> list[str]:
    notes = []
    for shape, name in _SHAPES.items():
        if window.HasField(shape):
            sizes = list(getattr(window, shape).dim)
            if any(not 0 <= size < 1 << 32 for size in sizes):  # which protobuf 4 would take
                raise ValueError(f"{shape} is {sizes}")
            del getattr(window, name)[:]
            getattr(window, name).extend(sizes)
            window.ClearField(shape)
            notes.append(f"{shape} upgraded to {name}")
    holes = [window.hole] * 2 if window.HasField("hole") else [window.hole_h or 1, window.hole_w or 1]
    if window.kstride or any(window.HasField(name) for name in ("hole", "hole_h", "hole_w")):
        window.dilation.extend(window.kstride or (holes[:1] if holes[0] == holes[1] else holes))
        for name in ("hole", "hole_h", "hole_w", "kstride"):
            window.ClearField(name)
        notes.append("hole or kstride upgraded to dilation")
    return notes


def _repeats(message: str, field: str) -> bool:
    return message == "PoolingParameter" and field in _SHAPES.values()


def _spell_pooling(window: PoolingParameter, more: Iterable[tuple[str, int]]) -> None:
    """The first values of fields that are given several times are in the window, the others in `more`."""
    values = {name: [getattr(window, name)] for name in _SHAPES.values()}
    for name, value in more:
        values[name].append(value)
    axes = max(map(len, values.values()))
    for shape, name in _SHAPES.items():
        window.ClearField(name)
        getattr(window, shape).CopyFrom(BlobShape(dim=values[name] * (axes if len(values[name]) == 1 else 1)))
