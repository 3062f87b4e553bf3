"""SPP: spatial pyramid pooling, an image of any size to a row of fixed length."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.vision.global_pooling import LOWEST
from caffepy.limits import STEP
from caffepy.proto.caffe_pb2 import SPPParameter


@register("SPP", bottoms=1, tops=1)
class SPP(Layer):
    """(n, c, h, w) -> (n, c * (1 + 4 + ... + 4^(pyramid_height - 1))), or (n, c, 1, 1) if pyramid_height is 1.

    Level l pools the image, MAX or AVE, in 2^l x 2^l windows of ceil(h / 2^l) x ceil(w / 2^l) pixels, side by side and
    about the image's middle; its c * 4^l values follow those of level l - 1. An average counts the padding as
    Pooling's does (He et al. 2014; Caffe: spp_layer.cpp).
    """

    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.spp_param
        self.pyramid_height, self.pool = p.pyramid_height, p.pool
        if not 1 <= self.pyramid_height <= 10:
            raise self.error(f"give spp_param pyramid_height of 1 to 10, got {self.pyramid_height}")
        if self.pool == SPPParameter.STOCHASTIC:
            raise self.error("pool: STOCHASTIC takes no padding, which most levels need; use MAX or AVE")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        num, channels, height, width = self.expect_axes(bottom_shapes, 0, 4)
        for level in range(self.pyramid_height):
            for extent in (height, width):
                axis = Axis.of(extent, 1 << level)
                if extent < 1 or axis.pad >= axis.kernel:
                    raise self.error(
                        f"level {level} cannot cut {extent} pixels of bottom shape {bottom_shapes[0]} into "
                        f"{1 << level} windows; lower pyramid_height {self.pyramid_height}"
                    )
        self.extent = channels, height, width, self.pyramid_height
        self.reserve_work(
            STEP * _first_bin(self.pyramid_height) + self.pyramid_height * math.prod(bottom_shapes[0]),
        )
        top = (num, channels * _first_bin(self.pyramid_height)) + ((1, 1) if self.pyramid_height == 1 else ())
        if self.pool == SPPParameter.MAX:
            self.mask: State = self.state("mask", top, np.int32)
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        mask = self.mask.array if self.pool == SPPParameter.MAX else None
        spp_forward(bottom[0].data, *self.extent, mask, top[0].data, pool=self.pool)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            mask = self.mask.array if self.pool == SPPParameter.MAX else None
            spp_backward(top[0].diff, mask, *self.extent, bottom[0].diff, pool=self.pool)


@dataclass(frozen=True)
class Axis:
    """`bins` windows of `kernel` pixels, side by side from -pad on, over an axis of `extent` pixels."""

    extent: int
    kernel: int
    pad: int

    @classmethod
    def of(cls, extent: int, bins: int) -> "Axis":
        """What a level does to an axis."""
        kernel = -(-extent // bins)
        return cls(extent, kernel, (kernel * bins - extent + 1) // 2)

    def window(self, i: int) -> tuple[slice, int]:
        """Which pixels window i sees, and its length, of which the trailing pad's part counts up to `pad`."""
        start = i * self.kernel - self.pad
        end = min(start + self.kernel, self.extent + self.pad)
        return slice(max(start, 0), min(end, self.extent)), end - start


def _first_bin(level: int) -> int:
    """How many windows the levels before this one have."""
    return int((4**level - 1) // 3)


def _windows(height: int, width: int, bins: int) -> Iterator[tuple[tuple[int, int], tuple[slice, slice], int]]:
    """Of a level: each window's place among the others, its pixels, its area."""
    rows, columns = Axis.of(height, bins), Axis.of(width, bins)
    for ph, pw in np.ndindex(bins, bins):
        (h, tall), (w, wide) = rows.window(ph), columns.window(pw)
        yield (ph, pw), (h, w), tall * wide


@kernel("spp.cu", rows="top_data", threads=32)
def spp_forward(
    bottom_data: Floats,
    channels: int,
    height: int,
    width: int,
    pyramid_height: int,
    mask: Ints | None,
    top_data: Floats,
    *,
    pool: int,
) -> None:
    """top[n, level, c, ph, pw] = the mean of the window, or its greatest value, at place mask = h * width + w

    Only what is above -FLT_MAX can be the greatest, and the first of equals is; without any, mask is -1.
    """
    image = bottom_data.reshape(-1, channels, height, width)
    top = top_data.reshape(len(image), channels * _first_bin(pyramid_height))
    for level in range(pyramid_height):
        bins = 1 << level
        values = np.empty((len(image), channels, bins, bins), np.float32)
        places = np.empty(values.shape, np.int32)
        for (ph, pw), (h, w), area in _windows(height, width, bins):
            seen = image[:, :, h, w]
            if pool == SPPParameter.AVE:
                values[:, :, ph, pw] = seen.sum(axis=(2, 3)) / np.float32(area)
                continue
            row = np.fmax(seen, np.float32(LOWEST)).reshape(len(image), channels, -1)
            best = row.argmax(axis=2)
            values[:, :, ph, pw] = np.take_along_axis(row, best[..., None], axis=2)[..., 0]
            rows, columns = np.divmod(best, w.stop - w.start)
            place = (h.start + rows) * width + w.start + columns
            places[:, :, ph, pw] = np.where(values[:, :, ph, pw] > LOWEST, place, -1)
        part = slice(channels * _first_bin(level), channels * _first_bin(level + 1))
        top[:, part] = values.reshape(len(image), -1)
        if mask is not None:
            mask.reshape(top.shape)[:, part] = places.reshape(len(image), -1)


@kernel("spp.cu", per="bottom_diff")
def spp_backward(
    top_diff: Floats,
    mask: Ints | None,
    channels: int,
    height: int,
    width: int,
    pyramid_height: int,
    bottom_diff: Floats,
    *,
    pool: int,
) -> None:
    """bottom_diff = the sum over levels of top_diff / area of the window here, or of top_diff if mask is this place"""
    diff = bottom_diff.reshape(-1, channels, height, width)
    top = top_diff.reshape(len(diff), channels * _first_bin(pyramid_height))
    diff[...] = 0
    for level in range(pyramid_height):
        bins = 1 << level
        part = slice(channels * _first_bin(level), channels * _first_bin(level + 1))
        dy = top[:, part].reshape(len(diff), channels, bins, bins)
        if mask is not None:  # windows do not overlap: a place has one of them
            places = mask.reshape(top.shape)[:, part].reshape(-1, bins * bins)
            plane, window = np.nonzero(places >= 0)
            diff.reshape(-1, height * width)[plane, places[plane, window]] += dy.reshape(places.shape)[plane, window]
            continue
        for (ph, pw), (h, w), area in _windows(height, width, bins):
            diff[:, :, h, w] += (dy[:, :, ph, pw] / np.float32(area))[..., None, None]
