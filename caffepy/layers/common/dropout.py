"""Dropout: random zeros while training, nothing at test time."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.elementwise import copy_backward, copy_forward
from caffepy.proto.caffe_pb2 import TRAIN
from caffepy.rng import kernel_seed, process


@register("Dropout", bottoms=1, tops=1)
class Dropout(Layer):
    """Any shape -> the same; TRAIN: top = bottom * mask, TEST: top = bottom (Srivastava et al. 2014). Runs in place.

    mask is 0 with probability dropout_ratio, else 1 / (1 - dropout_ratio): Caffe scales while training. With
    scale_train: false it is 0 or 1, and TEST: top = (1 - dropout_ratio) * bottom (Faster R-CNN).
    """

    in_place = True
    row_bottoms = (0,)
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.dropout_ratio = self.param.dropout_param.dropout_ratio
        self.drops = self.phase == TRAIN or self.param.dropout_param.sample_weights_test
        if not (0 <= self.dropout_ratio < 1 or (self.dropout_ratio == 1 and not self.drops)):
            raise self.error(f"dropout_ratio: {self.dropout_ratio} must be at least 0 and below 1")
        kept, scale_train = 1 - self.dropout_ratio, self.param.dropout_param.scale_train
        self.kept = 1 / kept if self.drops and scale_train else 1.0
        self.scale = 1.0 if self.drops or scale_train else kept
        if self.runs_in_place and not self.drops and self.scale == 1:
            self.shares = "both"

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        if self.drops:
            self.mask: State = self.state("mask", bottom_shapes[0])
            self.seed: State = self.state("seed", (1,), np.int32)
        return [bottom_shapes[0]]

    def prepare(self) -> None:
        if self.drops:
            self.seed.set(kernel_seed())

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self.drops:
            seed, mask = self.seed.array, self.mask.array
            dropout_forward(bottom[0].data, seed, mask, top[0].data, dropout_ratio=self.dropout_ratio, kept=self.kept)
        elif self.scale != 1:
            dropout_scale(bottom[0].data, self.scale, top[0].data)
        elif self.shares == "no":
            copy_forward(bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if not propagate_down[0]:
            return
        if self.drops:
            dropout_backward(top[0].diff, self.mask.array, bottom[0].diff)
        elif self.scale != 1:
            dropout_scale(top[0].diff, self.scale, bottom[0].diff)
        elif self.shares == "no":
            copy_backward(top[0].diff, bottom[0].diff)


@kernel("dropout.cu", per="top_data", each=8)
def dropout_forward(
    bottom_data: Floats, seed: Ints, mask: Floats, top_data: Floats, *, dropout_ratio: float, kept: float
) -> None:
    """mask[i] = kept with probability 1 - dropout_ratio, else 0; top = bottom * mask

    On the CPU the process's generator draws, as Caffe's does. A GPU draws u[i], uniform in [0, 1), the i-th single of
    Philox 4x64 with 10 rounds and key seed[0] (Salmon et al. 2011), and keeps where u[i] >= dropout_ratio.
    """
    drawn = process().bernoulli(mask.size, 1 - dropout_ratio)
    np.multiply(drawn.reshape(mask.shape), np.float32(kept), out=mask)
    np.multiply(bottom_data, mask, out=top_data)


@kernel("elementwise.cu", per="scaled", each=4)
def dropout_scale(values: Floats, scale: float, scaled: Floats) -> None:
    """scaled = values * scale"""
    np.multiply(values, np.float32(scale), out=scaled)


@kernel("elementwise.cu", per="bottom_diff", each=4)
def dropout_backward(top_diff: Floats, mask: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff * mask"""
    np.multiply(top_diff, mask, out=bottom_diff)
