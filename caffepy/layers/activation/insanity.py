"""Insanity: a leaky ReLU whose slopes are drawn at random while training."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.common.dropout import dropout_backward
from caffepy.proto.caffe_pb2 import TRAIN
from caffepy.rng import kernel_seed


@register("Insanity", bottoms=1, tops=1)
class Insanity(Layer):
    """Any shape -> the same; top = bottom if bottom > 0 else bottom / a (Xu et al. 2015: RReLU). Runs in place.

    TRAIN: each a is drawn from [lb, ub); TEST: a is (ub - lb) / log(ub / lb), so that 1 / a is the mean one.
    """

    in_place = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.insanity_param
        if not 0 < p.lb < p.ub:
            raise self.error(f"lb: {p.lb:g} must be above 0 and below ub: {p.ub:g}")
        self.range, self.draws = (p.lb, p.ub), self.phase == TRAIN

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.factor: State = self.state("factor", bottom_shapes[0])
        if self.draws:
            self.seed: State = self.state("seed", (1,), np.int32)
        return [bottom_shapes[0]]

    def prepare(self) -> None:
        if self.draws:
            self.seed.set(kernel_seed())

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        seed, (low, high) = self.seed.array if self.draws else None, self.range
        insanity_forward(bottom[0].data, seed, self.factor.array, top[0].data, smallest=low, largest=high)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            dropout_backward(top[0].diff, self.factor.array, bottom[0].diff)


@kernel("insanity.cu", per="top_data", each=8)
def insanity_forward(
    bottom_data: Floats, seed: Ints | None, factor: Floats, top_data: Floats, *, smallest: float, largest: float
) -> None:
    """factor[i] = 1 if bottom[i] > 0 else 1 / (smallest + (largest - smallest) * u[i]); top = bottom * factor

    u[i] is drawn as dropout_forward's; without a seed the factor is log(largest / smallest) / (largest - smallest).
    """
    if seed is None:
        factor[...] = math.log(largest / smallest) / (largest - smallest)
    else:
        np.random.Generator(np.random.Philox(key=int(seed[0]))).random(out=factor, dtype=np.float32)
        factor *= np.float32(largest - smallest)
        factor += np.float32(smallest)
        np.divide(np.float32(1), factor, out=factor)
    np.copyto(factor, np.float32(1), where=bottom_data > 0)
    np.multiply(bottom_data, factor, out=top_data)
