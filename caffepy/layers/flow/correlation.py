"""Correlation and Correlation1D: how alike the patches of two feature maps are, at many displacements."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register
from caffepy.limits import STEP
from caffepy.proto.caffe_pb2 import CorrelationParameter


@dataclass(frozen=True)
class Patches:
    """Top (d, i, j) compares the first bottom's patch that begins at (i, j) * stride_1 + (begin_y, begin_x) with the
    second's, which is displaced by (row of d, column of d) * stride_2 + (shift_y, shift_x). Pixels outside are 0."""

    kernel_size: int
    stride_1: int
    stride_2: int
    begin_y: int
    begin_x: int
    shift_y: int
    shift_x: int
    grid_height: int
    grid_width: int
    subtract: bool


@register("Correlation", bottoms=2, tops=1)
class Correlation(Layer):
    """Two of (n, c, h, w) -> (n, displacements, height, width) (Fischer et al. 2015: FlowNet, correlation_layer.cu).

    Displacements are multiples of stride_2, up to max_displacement along both axes. MULTIPLY: the mean over patches
    (c, kernel_size, kernel_size) of first * second; SUBTRACT: of |first - second|. Bottoms are padded by `pad` zeros,
    patches begin stride_1 apart where every displaced one fits: height = ceil((h + 2 * pad - 2 * (max_displacement +
    kernel_size // 2)) / stride_1). do_abs changes nothing, there as here.
    """

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.correlation_param
        for field in ("kernel_size", "max_displacement"):
            if not p.HasField(field):
                raise self.error(f"give correlation_param {{ {field} }}")
        if p.kernel_size % 2 == 0:
            raise self.error(f"kernel_size: {p.kernel_size} must be odd, so that a patch has a centre")
        if not p.stride_1 or not p.stride_2:
            raise self.error(f"stride_1: {p.stride_1} and stride_2: {p.stride_2} must be 1 at least")
        self.patches = self.read(p, p.max_displacement // p.stride_2)

    def read(self, p: CorrelationParameter, radius: int) -> Patches:
        """What the parameters say; `radius` displacements fit on each side."""
        if p.single_direction:
            raise self.error(f"single_direction: {p.single_direction} is for Correlation1D")
        self.border = p.max_displacement - p.pad, p.max_displacement - p.pad
        shift, side = -radius * p.stride_2, 2 * radius + 1
        subtract = p.correlation_type == CorrelationParameter.SUBTRACT
        strides = p.kernel_size, p.stride_1, p.stride_2
        return Patches(*strides, *self.border, shift, shift, side, side, subtract)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        first, patches = self.expect_axes(bottom_shapes, 0, 4), self.patches
        if bottom_shapes[1] != first:
            raise self.error(f"the bottoms must have one shape, got {first} and {bottom_shapes[1]}")
        if not first[1]:
            raise self.error(f"the bottoms, of shape {first}, have no channels")
        self.sizes: tuple[int, int] = first[2], first[3]
        rooms = [e - 2 * b - patches.kernel_size + 1 for e, b in zip(self.sizes, self.border, strict=True)]
        if min(rooms) < 1:
            raise self.error(
                f"patches of kernel_size: {patches.kernel_size} moved by max_displacement: "
                f"{self.param.correlation_param.max_displacement} do not fit into bottoms of shape {first}; raise pad"
            )
        self.top_sizes = -(-rooms[0] // patches.stride_1), -(-rooms[1] // patches.stride_1)
        self.channels = first[1]
        shifts = patches.grid_height * patches.grid_width
        products = first[0] * shifts * math.prod(self.top_sizes) * self.channels
        self.reserve_work(patches.kernel_size**2 * (products + STEP * shifts))
        return [(first[0], patches.grid_height * patches.grid_width, *self.top_sizes)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        first, second = (each.data for each in bottom)
        sizes = *self.sizes, *self.top_sizes
        correlation_forward(first, second, self.channels, *sizes, top[0].data, patches=self.patches)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        for i, side in enumerate((1, -1)):
            if propagate_down[i]:
                own, other, diff = bottom[i].data, bottom[1 - i].data, bottom[i].diff
                sizes = *self.sizes, *self.top_sizes
                correlation_backward(own, other, top[0].diff, side, self.channels, *sizes, diff, patches=self.patches)


@register("Correlation1D", bottoms=2, tops=1)
class Correlation1D(Correlation):
    """As Correlation, but pad and displacements are along the width alone (Mayer et al. 2016: DispNet).

    single_direction 1: to the right, from 0 on; -1: to the left, from one stride_2 further than max_displacement up to
    one stride_2, as there.
    """

    def read(self, p: CorrelationParameter, radius: int) -> Patches:
        if p.single_direction not in (-1, 0, 1):
            raise self.error(f"single_direction: {p.single_direction} must be -1 (left), 0 (both) or 1 (right)")
        self.border = 0, p.max_displacement - p.pad
        count = radius + 1 if p.single_direction else 2 * radius + 1
        first = {-1: -count, 0: -radius, 1: 0}[p.single_direction]
        subtract = p.correlation_type == CorrelationParameter.SUBTRACT
        strides = p.kernel_size, p.stride_1, p.stride_2
        return Patches(*strides, *self.border, 0, first * p.stride_2, 1, count, subtract)


@kernel("correlation.cu", per="top_data")
def correlation_forward(
    first_data: Floats,
    second_data: Floats,
    channels: int,
    height: int,
    width: int,
    top_height: int,
    top_width: int,
    top_data: Floats,
    *,
    patches: Patches,
) -> None:
    """top[n, d, i, j] = the mean over c and the patch of first[f] * second[f + s], or of |first[f] - second[f + s]|

    f: a place in the patch of (i, j); s: displacement d. Pixels outside are 0.
    """
    shape = -1, channels, height, width
    seen = _Seen(shape, (top_height, top_width), patches)
    first, second = seen.padded(first_data), seen.padded(second_data)
    top = top_data.reshape(-1, patches.grid_height * patches.grid_width, top_height, top_width)
    here = first[seen.here]
    for d, there in seen.displaced():
        if patches.subtract:
            alike = np.abs(here - second[there]).sum(axis=1)
        else:
            alike = np.einsum("nchw,nchw->nhw", here, second[there])
        np.divide(sum(alike[tap] for tap in seen.taps()), seen.count, out=top[:, d])


@kernel("correlation.cu", per="bottom_diff")
def correlation_backward(
    bottom_data: Floats,
    other_data: Floats,
    top_diff: Floats,
    side: int,
    channels: int,
    height: int,
    width: int,
    top_height: int,
    top_width: int,
    bottom_diff: Floats,
    *,
    patches: Patches,
) -> None:
    """bottom_diff[y] = the mean over d, i, j of top_diff[n, d, i, j] * other[y + side * s], where y is in the patch of
    (i, j) (side 1: of the first bottom), or y - s (side -1: of the second); SUBTRACT: * sign(bottom[y] - other)"""
    shape = -1, channels, height, width
    seen = _Seen(shape, (top_height, top_width), patches)
    own, other = seen.padded(bottom_data), seen.padded(other_data)
    top = top_diff.reshape(-1, patches.grid_height * patches.grid_width, top_height, top_width)
    diff = np.zeros_like(own)
    for d, there in seen.displaced():
        mine, yours = (seen.here, there) if side == 1 else (there, seen.here)
        spread = np.zeros((len(own), 1, *seen.extent), np.float32)
        for tap in seen.taps():
            spread[:, 0][tap] += top[:, d]
        diff[mine] += spread * (np.sign(own[mine] - other[yours]) if patches.subtract else other[yours])
    np.divide(diff[seen.inside], seen.count, out=bottom_diff.reshape(shape))


class _Seen:
    """Which slices of padded bottoms the patches see."""

    def __init__(self, shape: tuple[int, ...], top_sizes: tuple[int, int], patches: Patches) -> None:
        p = self._patches = patches
        self._shape, self._top_sizes = shape, top_sizes
        self.count = np.float32(shape[1] * p.kernel_size**2)
        self.extent = tuple((n - 1) * p.stride_1 + p.kernel_size for n in top_sizes)
        shifts = (p.shift_y, p.grid_height), (p.shift_x, p.grid_width)
        self._steps = [[shift + i * p.stride_2 for i in range(number)] for shift, number in shifts]
        reach = [
            (min(begin, begin + steps[0], 0), max(begin + extent + max(steps[-1], 0), size))
            for begin, extent, steps, size in zip(
                (p.begin_y, p.begin_x), self.extent, self._steps, shape[2:], strict=True
            )
        ]
        self._before = [-first for first, _ in reach]
        self._sizes = [last - first for first, last in reach]
        self.inside = self._at(self._before, shape[2:])
        self._begin = [b + begin for b, begin in zip(self._before, (p.begin_y, p.begin_x), strict=True)]
        self.here = self._at(self._begin, self.extent)

    def _at(self, begin: Sequence[int], extent: Sequence[int]) -> tuple[slice, ...]:
        return slice(None), slice(None), *(slice(b, b + e) for b, e in zip(begin, extent, strict=True))

    def padded(self, data: Floats) -> Floats:
        """The bottom with zeros around it, wherever a patch may reach."""
        images = data.reshape(self._shape)
        padded = np.zeros((*images.shape[:2], *self._sizes), np.float32)
        padded[self.inside] = images
        return padded

    def displaced(self) -> Iterator[tuple[int, tuple[slice, ...]]]:
        """Every displacement, and where the patches then are."""
        for d, steps in enumerate(itertools.product(*self._steps)):
            yield d, self._at([b + s for b, s in zip(self._begin, steps, strict=True)], self.extent)

    def taps(self) -> Iterator[tuple[slice, ...]]:
        """For each place in a patch, where it is in what the patches see: (n, top_height, top_width)."""
        step = self._patches.stride_1
        for tap in itertools.product(range(self._patches.kernel_size), repeat=2):
            starts = zip(tap, self._top_sizes, strict=True)
            yield slice(None), *(slice(k, k + (n - 1) * step + 1, step) for k, n in starts)
