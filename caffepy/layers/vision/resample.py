"""Resample: images of another size, by a filter of either axis."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.proto.caffe_pb2 import ResampleParameter as Kind


class Band:
    """A matrix (rows, columns) of which each row is zero but for `taps` neighbours: weights[r, t] at starts[r] + t."""

    def __init__(self, layer: Layer, name: str, matrix: Floats) -> None:
        there = matrix != 0
        starts = there.argmax(axis=1)
        ends = matrix.shape[1] - there[:, ::-1].argmax(axis=1)
        taps = int(np.where(there.any(axis=1), ends - starts, 1).max())
        starts = np.minimum(starts, matrix.shape[1] - taps)
        self.starts: State = layer.state(f"{name}_starts", starts.shape, np.int32)
        self.weights: State = layer.state(f"{name}_weights", (len(matrix), taps))
        self.starts.set(starts)
        self.weights.set(np.take_along_axis(matrix, starts[:, None] + np.arange(taps), axis=1))

    def apply(self, data: Floats, extent: int, inner: int, result: Floats) -> None:
        """Multiply (..., extent, inner) by it along the last but one axis."""
        resized, taps = self.weights.shape
        resample_axis(data, self.starts.array, self.weights.array, extent, resized, taps, inner, result)


@register("Resample", bottoms=(1, 2), tops=1)
class Resample(Layer):
    """(n, c, h, w) -> (n, c, height, width): the mean of the bottom's values around, weighted by a filter.

    The size is `height` x `width`, or `factor` times the bottom's, or bottom 1's. With fx = w / width and fy =
    h / height, top (i, j) stands at column j * fx + fy / 2 - 0.5, row i * fy + fx / 2 - 0.5. NEAREST: the value there;
    LINEAR: weights 1 - |d|, d a distance; CUBIC: those of cubic convolution (Keys 1981, a = -0.5). With antialias, if
    one axis shrinks, the filters are fx wide and fy high (Ilg et al. 2017: FlowNet 2.0, resample_layer.cu, which has no
    backward).
    """

    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        if self.param.resample_param.type == Kind.AREA:
            raise self.error("type: AREA is not there; give NEAREST, LINEAR or CUBIC")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        n, c, h, w = self.expect_axes(bottom_shapes, 0, 4)
        height, width = self._size(bottom_shapes)
        if min(h, w, height, width) < 1:
            raise self.error(f"cannot make {height} x {width} of bottom shape {(n, c, h, w)}; give 1 x 1 at least")
        self.sizes = h, w, height, width
        self.reserve_work(10 * (h * height + w * width), 40 * (h * height + w * width))
        fy, fx = np.float32(h) / np.float32(height), np.float32(w) / np.float32(width)
        antialias = self.param.resample_param.antialias and bool(fx > 1 or fy > 1)
        rows = self._matrix(h, np.arange(height, dtype=np.float32) * fy + fx / 2 - np.float32(0.5), fy, antialias)
        columns = self._matrix(w, np.arange(width, dtype=np.float32) * fx + fy / 2 - np.float32(0.5), fx, antialias)
        self.down, self.across = Band(self, "down", rows), Band(self, "across", columns)
        self.up, self.back = Band(self, "up", rows.T), Band(self, "back", columns.T)
        self.between: State = self.state("between", (n, c, height, w))
        return [(n, c, height, width)]

    def _size(self, bottom_shapes: Sequence[Shape]) -> tuple[int, int]:
        p = self.param.resample_param
        if len(bottom_shapes) == 2:
            height, width = self.expect_axes(bottom_shapes, 1, 4)[2:]
            return height, width
        if p.height and p.width:
            return p.height, p.width
        if p.HasField("factor"):
            if not 0 < p.factor < math.inf:
                raise self.error(f"factor: {p.factor:g} must be a number above 0")
            return int(bottom_shapes[0][2] * p.factor), int(bottom_shapes[0][3] * p.factor)
        raise self.error("give resample_param { height and width } or { factor }, or a bottom 1 of the wanted size")

    def _matrix(self, extent: int, at: Floats, shrinking: np.float32, antialias: bool) -> Floats:
        """(places of the top, of the bottom): the weights, where the top's stand `at`."""
        nearest = np.trunc(at + np.copysign(np.float32(0.5), at))
        places = np.arange(extent, dtype=np.float32)
        kind = self.param.resample_param.type
        if kind == Kind.NEAREST:
            shown: Floats = (nearest.clip(0, extent - 1)[:, None] == places).astype(np.float32)
            return shown
        rate = 1 / shrinking if antialias else np.float32(1)
        reach = 2 if shrinking < 1 else math.ceil(np.float32(4 if kind == Kind.CUBIC else 2) / rate)
        d = np.abs(at[:, None] - places) * rate
        weights: Floats = _cubic(d) if kind == Kind.CUBIC else np.maximum(1 - d, 0)
        weights[np.abs(nearest[:, None] - places) > reach] = 0
        total = weights.sum(axis=1, keepdims=True)
        weights /= np.where(total == 0, np.float32(1), total)
        return weights

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        h, w, _, _ = self.sizes
        self.down.apply(bottom[0].data, h, w, self.between.array)
        self.across.apply(self.between.array, w, 1, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            _, w, height, width = self.sizes
            self.back.apply(top[0].diff, width, 1, self.between.array)
            self.up.apply(self.between.array, height, w, bottom[0].diff)


def _cubic(d: Floats) -> Floats:
    near, far = d * d * (1.5 * d - 2.5) + 1, d * (d * (-0.5 * d + 2.5) - 4) + 2
    weights: Floats = np.where(d <= 1, near, np.where(d < 2, far, 0)).astype(np.float32)
    return weights


@kernel("resample.cu", per="top_data")
def resample_axis(
    bottom_data: Floats,
    starts: Ints,
    weights: Floats,
    extent: int,
    resized: int,
    taps: int,
    inner: int,
    top_data: Floats,
) -> None:
    """top[o, r, i] = sum over t < taps of weights[r, t] * bottom[o, starts[r] + t, i]"""
    bottom, top = bottom_data.reshape(-1, extent, inner), top_data.reshape(-1, resized, inner)
    np.multiply(bottom[:, starts], weights[:, :1], out=top)
    for t in range(1, taps):
        top += bottom[:, starts + t] * weights[:, t : t + 1]
