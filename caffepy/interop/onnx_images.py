"""What layers that pool, resize and move values are in ONNX's operators."""

from collections.abc import Sequence

import numpy as np

from caffepy.interop.onnx_layers import CONVERTERS, FLOAT, Site, converts
from caffepy.layers.utility.rearrange import channels_last
from caffepy.layers.vision.global_pooling import LOWEST
from caffepy.proto.caffe_pb2 import PoolingParameter

__all__ = ["CONVERTERS"]


@converts("Pooling")
def _pooling(site: Site) -> list[str]:
    """Explicit padding gives ONNX's rounded-down pooling the windows that Caffe's has."""
    if len(site.bottom_shapes[0]) != 4:
        raise site.refuse("pooling along other than two axes")
    layer, window, x = site.layer, site.layer.current, site.bottoms[0]
    height, width, *pooled = layer.extent
    ends = [
        max(0, (positions - 1) * stride + kernel - extent - pad)
        for positions, stride, kernel, extent, pad in (
            (pooled[0], window.stride_h, window.kernel_h, height, window.pad_h),
            (pooled[1], window.stride_w, window.kernel_w, width, window.pad_w),
        )
    ]
    kernel = [window.kernel_h, window.kernel_w]
    slides = {"kernel_shape": kernel, "strides": [window.stride_h, window.stride_w]}
    pads = [window.pad_h, window.pad_w, *ends]
    around = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]])
    if layer.pool == PoolingParameter.AVE:
        padded = site.op("Pad", x, around) if any(pads) else x
        mean = site.op("AveragePool", padded, **slides)
        correction = kernel[0] * kernel[1] / window.areas(height, width, *pooled)
        return [mean if (correction == 1).all() else site.op("Mul", mean, correction)]
    if layer.pool != PoolingParameter.MAX:
        raise site.refuse("pool: STOCHASTIC")
    outside = any(end >= extent for end, extent in zip(ends, kernel, strict=True))
    if outside and len(site.top_shapes) > 1:
        raise site.refuse("a second top, with windows wholly outside the image,")
    if outside:
        return [site.op("MaxPool", site.op("Pad", x, around, LOWEST), **slides)]
    tops = site.ops("MaxPool", len(site.top_shapes), x, pads=pads, **slides)
    return [tops[0], *(site.op("Cast", site.op("Mod", places, height * width), to=FLOAT) for places in tops[1:])]


# ---- sizes


def _resized(site: Site, value: str, mode: str, coordinates: str, last: bool = False, **attributes: str) -> str:
    """The value at the top's size; `last`: channels are the last axis."""
    if last:
        value = site.op("Transpose", value, perm=[0, 3, 1, 2])
    n, *rest = site.top_shapes[0]
    size = np.array([n, rest[2], *rest[:2]] if last else [n, *rest])
    how = {"mode": mode, "coordinate_transformation_mode": coordinates, **attributes}
    value = site.op("Resize", value, "", "", size, **how)
    return site.op("Transpose", value, perm=[0, 2, 3, 1]) if last else value


@converts("Interp")
def _interp(site: Site) -> str:
    p, x = site.layer.param.interp_param, site.bottoms[0]
    if site.layer.crops:
        _, _, height, width = site.bottom_shapes[0]
        x = _part(site, x, [2, 3], [-p.pad_beg] * 2, [height + p.pad_end, width + p.pad_end])
    return _resized(site, x, "linear", "align_corners")


@converts("ResizeBilinear", "ResizeNearestNeighbor")
def _resize(site: Site) -> str:
    linear = site.layer.type == "ResizeBilinear"
    p = site.layer.param.resize_bilinear_param if linear else site.layer.param.resize_nearest_neighbor_param
    last = channels_last(site.layer, p.data_format)
    coordinates = "align_corners" if p.align_corners else "half_pixel" if p.half_pixel_centers else "asymmetric"
    if linear:
        return _resized(site, site.bottoms[0], "linear", coordinates, last)
    rounding = "floor" if coordinates == "asymmetric" else "round_prefer_ceil"
    return _resized(site, site.bottoms[0], "nearest", coordinates, last, nearest_mode=rounding)


@converts("Upsample", "UpsampleDarknet")
def _upsample(site: Site) -> str:
    if len(site.bottoms) > 1:
        raise site.refuse("a pooling's mask as second bottom")
    return _resized(site, site.bottoms[0], "nearest", "asymmetric", nearest_mode="floor")


# ---- places


def _part(site: Site, value: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> str:
    return site.op("Slice", value, *(np.array(numbers) for numbers in (starts, ends, axes)))


@converts("Flatten", "Reshape", "Squeeze")
def _view(site: Site) -> str:
    return site.reshaped(site.bottoms[0], site.top_shapes[0])


@converts("Permute", "ShuffleChannel", "Reorg", "DepthToSpace")
def _move(site: Site) -> str:
    move, top = site.layer.move(site.bottom_shapes[0])
    moved = site.op("Transpose", site.reshaped(site.bottoms[0], move.extents), perm=[*move.order])
    return site.reshaped(moved, top)


@converts("Flip")
def _flip(site: Site) -> str:
    axes = np.array(site.layer.move(site.bottom_shapes[0])[0].mirrored, np.int64)
    return site.op("Slice", site.bottoms[0], axes * 0 - 1, axes * 0 + np.iinfo(np.int64).min, axes, axes * 0 - 1)


@converts("Crop")
def _crop(site: Site) -> str:
    axes, top = len(site.bottom_shapes[0]), site.top_shapes[0]
    first = site.layer.canonical_axis(site.layer.param.crop_param.axis, site.bottom_shapes[0])
    offsets = site.layer._offsets(axes - first)
    ends = [offset + extent for offset, extent in zip(offsets, top[first:], strict=True)]
    return _part(site, site.bottoms[0], range(first, axes), offsets, ends)


@converts("CropCenter")
def _crop_center(site: Site) -> str:
    sizes, shape = list(site.layer.param.crop_center_param.crop_size), site.bottom_shapes[0]
    ends = [extent - size for extent, size in zip(shape, sizes, strict=True)]
    return _part(site, site.bottoms[0], range(len(shape)), sizes, ends)


@converts("Pad")
def _pad(site: Site) -> str:
    p = site.layer.param.pad_param
    return site.op("Pad", site.bottoms[0], np.array([*p.paddings[::2], *p.paddings[1::2]]), p.constant_values)


@converts("Tile")
def _tile(site: Site) -> str:
    shape = site.bottom_shapes[0]
    repeats = [1] * len(shape)
    repeats[site.layer.canonical_axis(site.layer.param.tile_param.axis, shape)] = site.layer.tiles
    return site.op("Tile", site.bottoms[0], np.array(repeats))
