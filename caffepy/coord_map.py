"""pycaffe's coord_map: how the coordinates of two blobs of a NetSpec relate, and the Crop that aligns them.

A map is (axis, scale, shift): at index i of one blob along the spatial axes after `axis` lies index scale * i + shift
of the other; scale and shift are arrays, one value or one for each spatial axis. The identity has axis None.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.errors import GraphError
from caffepy.net_spec import Function, Top, layers

Map = tuple[int | None, Any, Any]

PASS_THROUGH_LAYERS = (
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Clip", "Dropout", "Eltwise", "ELU", "Log", "LRN", "Exp", "MVN", "Power"),
    *("ReLU", "PReLU", "Scale", "Sigmoid", "Split", "Swish", "TanH", "Threshold"),
)
"""The types whose tops have the coordinates of their bottoms."""

IDENTITY: Map = (None, 1, 0)


class UndefinedMapException(GraphError):
    """A layer whose tops' coordinates are no scaled and shifted ones of its bottoms."""


class AxisMismatchException(GraphError):
    """Two maps of different axes."""


class UnrelatedError(GraphError, RuntimeError):
    """Two blobs that no spatial layers connect."""


class CropError(GraphError, AssertionError):
    """Two blobs that no Crop can align."""


def conv_params(fn: Function) -> tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(axis, stride, kernel extent with its dilation, pad) of a convolution or pooling, one value or one per axis.

    Raises UndefinedMapException where the kernel's size is not given, as in global pooling.
    """
    params = _settings(fn, "pooling_param" if fn.type_name == "Pooling" else "convolution_param")
    kernel_size = _spatial(params, "kernel_size", "kernel")
    if kernel_size is None or params.get("global_pooling"):
        raise UndefinedMapException(f"{fn.type_name} has no kernel_size: coordinates can be mapped only where it does")
    dilation = np.array(params.get("dilation", 1), ndmin=1)
    stride, pad = _spatial(params, "stride", "stride", 1), _spatial(params, "pad", "pad", 0)
    return params.get("axis", 1), stride, (kernel_size - 1) * dilation + 1, pad


def crop_params(fn: Function) -> tuple[int, NDArray[Any]]:
    """(axis, offset) of a Crop, one value or one per axis."""
    params = _settings(fn, "crop_param")
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def _settings(fn: Function, field: str) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = fn.params.get(field, fn.params)
    return settings


def _spatial(params: Mapping[str, Any], name: str, prefix: str, default: int | None = None) -> Any:
    """The setting `name`, or that of `prefix`_h and `prefix`_w, as an array."""
    if f"{prefix}_h" in params or f"{prefix}_w" in params:
        return np.array([params.get(f"{prefix}_h", default or 0), params.get(f"{prefix}_w", default or 0)])
    value = params.get(name, default)
    return None if value is None else np.array(value, ndmin=1)


def coord_map(fn: Function) -> Map:
    """The map of a layer, from its bottoms to its tops. Raises UndefinedMapException where there is none."""
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name == "Crop":
        first, offset = crop_params(fn)
        return first - 1, 1, -offset  # the axis before the first that is cropped, as a convolution's is the channels'
    if fn.type_name in PASS_THROUGH_LAYERS:
        return IDENTITY
    raise UndefinedMapException(
        f"coordinates are not known through {fn.type_name}: only through convolutions, pooling, Crop and layers that "
        "treat each value by itself"
    )


def compose(base_map: Map, next_map: Map) -> Map:
    """i -> base_map(next_map(i)). Raises AxisMismatchException where the axes differ."""
    (base_axis, base_scale, base_shift), (next_axis, next_scale, next_shift) = base_map, next_map
    if base_axis is not None and next_axis is not None and base_axis != next_axis:
        raise AxisMismatchException(f"one map is of the axes after {base_axis}, the other of those after {next_axis}")
    axis = next_axis if base_axis is None else base_axis
    return axis, base_scale * next_scale, base_scale * next_shift + base_shift


def inverse(coord_map: Map) -> Map:
    """The map the other way."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map between two blobs, by way of the first blob that both depend on.

    Raises UnrelatedError where spatial layers connect them to no common blob.
    """
    from_maps = _maps_of_ancestors(top_from)
    to_maps = _maps_of_ancestors(top_to)
    for top, to_map in to_maps.items():
        if top in from_maps:
            return compose(to_map, inverse(from_maps[top]))
    raise UnrelatedError("Could not compute map between tops; are they connected by spatial layers?").advise(
        f"{top_from.fn.type_name} and {top_to.fn.type_name} have no blob in common that both are made of by "
        "convolutions, pooling, Crop and layers that treat each value by itself"
    )


def _maps_of_ancestors(top: Top) -> dict[Top, Map]:
    """The map to `top` of every blob it depends on through layers that have one, nearest first."""
    maps: dict[Top, Map] = {top: IDENTITY}
    waiting = deque([top])
    while waiting:
        at = waiting.popleft()
        bottoms = at.fn.inputs[:1] if at.fn.type_name == "Crop" else at.fn.inputs  # its second gives only the size
        try:
            step = coord_map(at.fn) if bottoms else IDENTITY
        except UndefinedMapException:
            continue
        for bottom in bottoms:
            if bottom not in maps:
                maps[bottom] = compose(maps[at], step)
                waiting.append(bottom)
    return maps


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop of `top_from` to the size of `top_to`, at the offset where their coordinates agree.

    Raises CropError where their scales differ, or the offset is negative or not whole.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    scale, offset = np.atleast_1d(scale), -np.atleast_1d(shift)
    if (scale != 1).any():
        raise CropError(f"scale mismatch on crop (a = {scale})").advise("give both blobs the same strides")
    if (offset < 0).any():
        raise CropError(f"cannot crop negative offset (b = {-offset})").advise(
            f"the offset would be {offset}: the blob to crop starts inside the other; pad it more"
        )
    if (offset != offset.round()).any():
        raise CropError(f"cannot crop noninteger offset (b = {-offset})").advise(
            f"the offset would be {offset}, between two pixels; change a pad or a kernel_size by one"
        )
    first = 2 if axis is None else axis + 1
    cropped: Top = layers.Crop(top_from, top_to, crop_param={"axis": first, "offset": offset.astype(int).tolist()})
    return cropped
