"""L1Loss: absolute differences, or lengths of difference vectors."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import Bools
from caffepy.layers.loss.loss import Loss, add_up, loss_sum


@register("L1Loss", bottoms=(1, 2), tops=1)
class L1Loss(Loss):
    """first, optionally second, both (n, c, ...) -> loss (), of d = first - second, or d = first alone.

    loss = sum of |d| over the d of size `plateau` at least, or with l2_per_location the sum over all places of
    sqrt(s + epsilon), s = sum over channels of d^2, divided by c with l2_prescale_by_channels, 0 below plateau^2. It is
    divided by n, or with normalize_by_num_entries by (the number of d that are not NaN) / c. A d that is NaN counts as
    0 and has derivative 0; so has |d| at 0 (NVCaffe: l1_loss_layer.cpp; FlowNet: l1loss_layer.cu, but for -1 at 0).
    """

    reads = ("bottom",)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        p, first = self.param.l1_loss_param, bottom_shapes[0]
        if len(first) < 2:
            raise self.error(f"bottom {self.param.bottom[0]!r} must have 2 axes at least, got shape {first}")
        num, values = self.pair_up(bottom_shapes)
        self.plateau, self.epsilon = p.plateau, p.epsilon
        self.count, self.channels, self.inner = num * values, first[1], math.prod(first[2:])
        self.weight = 1 / max(1, self.channels) if p.l2_prescale_by_channels else 1.0
        if p.l2_per_location:
            self.squared: State = self.state("squared", (num, self.inner))
        self.normalizer: State = self.state("normalizer", (1,))
        if not p.normalize_by_num_entries:
            self.normalizer.set(num)
        self.split_sum(self.count)
        return super().reshape(bottom_shapes)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        p, constants = self.param.l1_loss_param, {"plateau": self.plateau, "epsilon": self.epsilon}
        first, second = _both(bottom)
        if p.normalize_by_num_entries:
            l1_loss_entries(first, second, self.count, self.parts, **constants)
            loss_sum(self.parts, None, self.channels, self.normalizer.array)
        if p.l2_per_location:
            squared = self.squared.array
            l1_loss_squares(first, second, self.channels, self.inner, self.weight, squared, **constants)
            l1_loss_lengths_forward(squared, squared.size, self.parts, **constants)
        else:
            l1_loss_forward(first, second, self.count, self.parts, **constants)
        self.finish(top[0], self.normalizer.array, 1)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        constants = {"plateau": self.plateau, "epsilon": self.epsilon}
        normalizer, top_diff, (first, second) = self.normalizer.array, top[0].diff, _both(bottom)
        for arrays, down, sign in zip(bottom, propagate_down, (1.0, -1.0), strict=False):
            if not down:
                continue
            if self.param.l1_loss_param.l2_per_location:
                l1_loss_lengths_backward(
                    first,
                    second,
                    self.squared.array,
                    self.channels,
                    self.inner,
                    normalizer,
                    top_diff,
                    sign * self.weight,
                    arrays.diff,
                    **constants,
                )
            else:
                l1_loss_backward(first, second, normalizer, top_diff, sign, arrays.diff, **constants)


def _both(bottom: Sequence[Arrays]) -> tuple[Floats, Floats | None]:
    return bottom[0].data, bottom[1].data if len(bottom) > 1 else None


@kernel("l1_loss.cu", rows="parts", threads=512)
def l1_loss_entries(
    first_data: Floats, second_data: Floats | None, values: int, parts: Floats, *, plateau: float, epsilon: float
) -> None:
    """parts = partial sums over i < values of 1 where first[i] - second[i] is not NaN"""
    add_up((~np.isnan(_difference(first_data, second_data))).astype(np.float32), parts)


@kernel("l1_loss.cu", rows="parts", threads=512)
def l1_loss_forward(
    first_data: Floats, second_data: Floats | None, values: int, parts: Floats, *, plateau: float, epsilon: float
) -> None:
    """parts = partial sums over i < values of |first[i] - second[i]|, 0 where that is below the plateau or NaN"""
    size = np.abs(_difference(first_data, second_data))
    add_up(np.where(_counts(size, plateau), size, np.float32(0)), parts)


@kernel("l1_loss.cu", per="bottom_diff")
def l1_loss_backward(
    first_data: Floats,
    second_data: Floats | None,
    normalizer: Floats,
    top_diff: Floats,
    factor: float,
    bottom_diff: Floats,
    *,
    plateau: float,
    epsilon: float,
) -> None:
    """bottom_diff = factor * (the sign of d) * top_diff / normalizer, d = first - second, 0 where |d| is below the
    plateau or NaN"""
    d = _difference(first_data, second_data)
    slope = np.where(_counts(np.abs(d), plateau), np.sign(d), np.float32(0))
    np.multiply(slope, top_diff * np.float32(factor) / normalizer, out=bottom_diff.reshape(-1))


@kernel("l1_loss.cu", per="squared")
def l1_loss_squares(
    first_data: Floats,
    second_data: Floats | None,
    channels: int,
    inner: int,
    weight: float,
    squared: Floats,
    *,
    plateau: float,
    epsilon: float,
) -> None:
    """squared[n, i] = weight * sum over c of d[n, c, i]^2, d = first - second, NaN counting as 0; 0 below plateau^2"""
    d = np.nan_to_num(_difference(first_data, second_data), nan=0, posinf=np.inf, neginf=-np.inf)
    d = d.reshape(-1, channels, inner)
    total = np.einsum("nci,nci->ni", d, d) * np.float32(weight)
    np.copyto(squared, np.where(total < np.float32(plateau) ** 2, np.float32(0), total))


@kernel("l1_loss.cu", rows="parts", threads=512)
def l1_loss_lengths_forward(squared: Floats, values: int, parts: Floats, *, plateau: float, epsilon: float) -> None:
    """parts = partial sums over i < values of sqrt(squared[i] + epsilon)"""
    add_up(np.sqrt(squared + np.float32(epsilon)), parts)


@kernel("l1_loss.cu", per="bottom_diff")
def l1_loss_lengths_backward(
    first_data: Floats,
    second_data: Floats | None,
    squared: Floats,
    channels: int,
    inner: int,
    normalizer: Floats,
    top_diff: Floats,
    factor: float,
    bottom_diff: Floats,
    *,
    plateau: float,
    epsilon: float,
) -> None:
    """bottom_diff[n, c, i] = factor * d / sqrt(squared[n, i] + epsilon) * top_diff / normalizer, d = first - second;
    0 where squared is 0 or d NaN"""
    d = _difference(first_data, second_data).reshape(-1, channels, inner)
    slope = np.where(squared > 0, 1 / np.sqrt(squared + np.float32(epsilon)), np.float32(0))
    slope *= top_diff * np.float32(factor) / normalizer
    np.copyto(bottom_diff.reshape(d.shape), np.where(np.isnan(d) | (slope == 0)[:, None], 0, d * slope[:, None]))


def _difference(first: Floats, second: Floats | None) -> Floats:
    return first.reshape(-1) if second is None else first.reshape(-1) - second.reshape(-1)


def _counts(size: Floats, plateau: float) -> Bools:
    """Where size is neither below the plateau nor NaN."""
    counts: Bools = size >= max(0.0, plateau)
    return counts
