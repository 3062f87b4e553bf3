"""SmoothL1Loss: squared differences where they are small, absolute ones beyond."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.loss.loss import Loss, add_up


@register("SmoothL1Loss", bottoms=(2, 4), tops=1)
class SmoothL1Loss(Loss):
    """first, second, optionally inside and outside weights, all (n, ...), as many values -> loss ().

    loss = sum of outside * f(inside * (first - second)) / n; f(x) = sigma^2 x^2 / 2 where |x| < 1 / sigma^2, else
    |x| - 1 / (2 sigma^2) (Girshick 2015; Faster R-CNN's Caffe: smooth_L1_loss_layer.cpp). Both first and second have a
    derivative.
    """

    reads = ("bottom",)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.sigma = self.param.smooth_l1_loss_param.sigma
        if self.sigma <= 0:
            raise self.error(f"smooth_l1_loss_param: sigma must be above 0, got {self.sigma:g}")
        self.num, values = self.pair_up(bottom_shapes)
        self.count = self.num * values
        self.split_sum(self.count)
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < 2

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        first, second = bottom[0].data, bottom[1].data
        smooth_l1_loss_forward(first, second, *_weights(bottom), self.count, self.parts, sigma=self.sigma)
        self.finish(top[0], None, self.num)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        for this, other in ((0, 1), (1, 0)):
            if propagate_down[this]:
                smooth_l1_loss_backward(
                    bottom[this].data,
                    bottom[other].data,
                    *_weights(bottom),
                    top[0].diff,
                    self.num,
                    bottom[this].diff,
                    sigma=self.sigma,
                )


def _weights(bottom: Sequence[Arrays]) -> tuple[Floats | None, Floats | None]:
    """Those inside and those outside."""
    given = [arrays.data for arrays in bottom[2:]]
    return given[0] if given else None, given[1] if len(given) > 1 else None


@kernel("smooth_l1_loss.cu", rows="parts", threads=512)
def smooth_l1_loss_forward(
    first_data: Floats,
    second_data: Floats,
    inside_data: Floats | None,
    outside_data: Floats | None,
    values: int,
    parts: Floats,
    *,
    sigma: float,
) -> None:
    """parts = partial sums over i < values of outside[i] * f(inside[i] * (first[i] - second[i]));
    f(x) = sigma^2 x^2 / 2 where |x| < 1 / sigma^2, else |x| - 1 / (2 sigma^2)"""
    x, squared = _weighted(_difference(first_data, second_data), inside_data), np.float32(sigma * sigma)
    size = np.abs(x)
    losses = np.where(size < 1 / squared, x * x * (squared / 2), size - np.float32(0.5) / squared)
    add_up(_weighted(losses, outside_data), parts)


@kernel("smooth_l1_loss.cu", per="bottom_diff")
def smooth_l1_loss_backward(
    bottom_data: Floats,
    other_data: Floats,
    inside_data: Floats | None,
    outside_data: Floats | None,
    top_diff: Floats,
    num: int,
    bottom_diff: Floats,
    *,
    sigma: float,
) -> None:
    """bottom_diff = outside * inside * f'(inside * (bottom - other)) * top_diff / num;
    f'(x) = sigma^2 x where |x| < 1 / sigma^2, else the sign of x"""
    x = _weighted(_difference(bottom_data, other_data), inside_data)
    slope = np.clip(x * np.float32(sigma * sigma), -1, 1)
    slope = _weighted(_weighted(slope, inside_data), outside_data)
    np.multiply(slope, top_diff / np.float32(num), out=bottom_diff.reshape(-1))


def _difference(first: Floats, second: Floats) -> Floats:
    return first.reshape(-1) - second.reshape(-1)


def _weighted(values: Floats, weights: Floats | None) -> Floats:
    return values if weights is None else values * weights.reshape(-1)
