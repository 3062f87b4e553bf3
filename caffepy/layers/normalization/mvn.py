"""MVN: mean and variance normalised, image by image."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.normalization.batch_norm import (
    batch_norm_backward,
    batch_norm_batch_stats,
    batch_norm_diff_stats,
    batch_norm_forward,
)


@register("MVN", bottoms=1, tops=1)
class MVN(Layer):
    """(n, c, h, w), or fewer axes -> 4 axes; top = (bottom - mean) / (sqrt(variance) + eps). Runs in place.

    Mean and variance are those of each channel of each image, or with across_channels those of each image; without
    normalize_variance the mean is subtracted and no more (Caffe: mvn_layer.cpp). The derivative takes eps for 0 where
    the variance is derived, as Caffe's does.
    """

    in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.mvn_param
        self.normalize_variance, self.across_channels, self.eps = p.normalize_variance, p.across_channels, p.eps
        self.reads = ("top",) if self.normalize_variance else ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        if len(bottom) > 4:
            raise self.error(f"bottom {self.param.bottom[0]!r} must have 4 axes at most, got shape {bottom}")
        top = (*bottom, *[1] * (4 - len(bottom)))
        if top != bottom and self.runs_in_place:
            raise self.error(f"its top has 4 axes, its bottom has shape {bottom}: give its top another name")
        rows = top[0] if self.across_channels else top[0] * top[1]
        self.extent = 1, rows, math.prod(top) // max(rows, 1)  # to BatchNorm's operations a row is a channel
        self.mean, self.variance, self.product = (self.state(name, (rows,)) for name in ("mean", "variance", "product"))
        self.spread: State = self.state("spread", (rows,))
        if not self.normalize_variance:
            self.spread.set(1)
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self.normalize_variance:
            data, mean, variance, spread = bottom[0].data, self.mean.array, self.variance.array, self.spread.array
            batch_norm_batch_stats(data, *self.extent, mean, variance)
            mvn_spread(variance, spread, eps=self.eps)
            batch_norm_forward(data, mean, spread, *self.extent, None, top[0].data, eps=0.0)
        else:
            self._centre(bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if not propagate_down[0]:
            return
        if self.normalize_variance:
            diff, data, mean, product = top[0].diff, top[0].data, self.mean.array, self.product.array
            batch_norm_diff_stats(diff, data, *self.extent, mean, product)
            spread = self.spread.array
            batch_norm_backward(diff, data, mean, product, spread, *self.extent, bottom[0].diff, eps=0.0)
        else:
            self._centre(top[0].diff, bottom[0].diff)

    def _centre(self, values: Floats, centred: Floats) -> None:
        """centred = values - mean, of a row; the derivative of that is itself."""
        mean = self.mean.array
        batch_norm_batch_stats(values, *self.extent, mean, self.variance.array)
        batch_norm_forward(values, mean, self.spread.array, *self.extent, None, centred, eps=0.0)


@kernel("mvn.cu", per="spread")
def mvn_spread(variance: Floats, spread: Floats, *, eps: float) -> None:
    """spread = (sqrt(variance) + eps)^2, which BatchNorm's operations take for a variance"""
    np.sqrt(variance, out=spread)
    spread += np.float32(eps)
    np.square(spread, out=spread)
