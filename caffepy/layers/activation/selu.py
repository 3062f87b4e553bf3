"""SeLu and SeLuDropout: activations that keep mean 0 and variance 1, and the dropout that does."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.elementwise import Elementwise, blocks
from caffepy.layers.common.dropout import Dropout
from caffepy.proto.caffe_pb2 import TRAIN

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # where mean 0 and variance 1 stay: Klambauer et al., eq. 14


@register("SeLu", bottoms=1, tops=1)
class SeLu(Elementwise):
    """Any shape -> the same; top = s * bottom if bottom > 0 else s * a * (exp(bottom) - 1) (Klambauer et al. 2017).

    s = 1.0507 and a = 1.6733. Runs in place.
    """

    reads = ("top",)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        selu_forward(bottom_data, top_data, scale=SCALE, alpha=ALPHA)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        selu_backward(top_data, top_diff, bottom_diff, scale=SCALE, alpha=ALPHA)


@register("SeLuDropout", bottoms=1, tops=1)
class SeLuDropout(Dropout):
    """Any shape -> the same; TRAIN: top = a * (bottom or alpha) + b, TEST: top = bottom (Klambauer et al. 2017).

    With probability dropout_ratio, 1 - q, a value becomes alpha, -1.7581; a = 1 / sqrt(q + alpha^2 q (1 - q)) and
    b = -a (1 - q) alpha keep mean 0 and variance 1. Runs in place.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.selu_dropout_param
        if not 0 < p.dropout_ratio < 1:
            raise self.error(f"dropout_ratio: {p.dropout_ratio:g} must be above 0 and below 1")
        self.dropout_ratio, self.alpha = p.dropout_ratio, p.alpha
        kept = 1 - p.dropout_ratio
        self.gain = 1 / math.sqrt(kept + p.alpha**2 * kept * (1 - kept))
        self.scale, self.shift = 1.0, -self.gain * (1 - kept) * p.alpha
        self.drops = self.phase == TRAIN
        if self.runs_in_place and not self.drops:
            self.shares = "both"

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if not self.drops:
            super().forward(bottom, top)
            return
        selu_dropout_forward(
            bottom[0].data,
            self.seed.array,
            self.mask.array,
            top[0].data,
            dropout_ratio=self.dropout_ratio,
            scale=self.gain,
            shift=self.shift,
            dropped=self.gain * self.alpha + self.shift,
        )


@kernel("selu.cu", per="top_data", each=4)
def selu_forward(bottom_data: Floats, top_data: Floats, *, scale: float, alpha: float) -> None:
    """top = scale * (bottom if bottom > 0 else alpha * (exp(bottom) - 1))"""
    for x, y in blocks(bottom_data, top_data):
        below = np.expm1(x) * np.float32(scale * alpha)
        np.copyto(y, np.where(x > 0, x * np.float32(scale), below))


@kernel("selu.cu", per="bottom_diff", each=4)
def selu_backward(top_data: Floats, top_diff: Floats, bottom_diff: Floats, *, scale: float, alpha: float) -> None:
    """bottom_diff = top_diff * (scale if top > 0 else top + scale * alpha)"""
    for y, dy, dx in blocks(top_data, top_diff, bottom_diff):
        np.multiply(dy, np.where(y > 0, np.float32(scale), y + np.float32(scale * alpha)), out=dx)


@kernel("selu_dropout.cu", per="top_data", each=8)
def selu_dropout_forward(
    bottom_data: Floats,
    seed: Ints,
    mask: Floats,
    top_data: Floats,
    *,
    dropout_ratio: float,
    scale: float,
    shift: float,
    dropped: float,
) -> None:
    """mask[i] = scale if u[i] >= dropout_ratio else 0; top = bottom * scale + shift where it is not 0, else dropped

    u[i] is drawn as dropout_forward's.
    """
    np.random.Generator(np.random.Philox(key=int(seed[0]))).random(out=mask, dtype=np.float32)
    kept = mask >= np.float32(dropout_ratio)
    np.multiply(kept, np.float32(scale), out=mask)
    np.copyto(top_data, np.where(kept, bottom_data * np.float32(scale) + np.float32(shift), np.float32(dropped)))
