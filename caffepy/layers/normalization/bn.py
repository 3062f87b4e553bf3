"""BN: batch normalisation with a learned scale and shift, in the two forms that forks have."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.elementwise import copy_forward
from caffepy.layers.common.scale import bias_backward_weights, scale_backward, scale_backward_weights, scale_forward
from caffepy.layers.normalization.batch_norm import (
    batch_norm_backward,
    batch_norm_batch_stats,
    batch_norm_diff_stats,
    batch_norm_forward,
    batch_norm_global_backward,
)
from caffepy.proto.caffe_pb2 import TEST, BNParameter, FillerParameter

_SEGNET_EPS = 1e-9


@register("BN", bottoms=1, tops=(1, 3))
class BN(Layer):
    """(n, c, ...) -> the same; top = scale[c] * (bottom - mean[c]) / sqrt(variance[c] + eps) + shift[c]. In place too.

    Two forms. SegNet's (bn_mode, scale_filler, shift_filler) has the weights scale and shift (1, c, 1, 1): mean and
    variance are the batch's, in every phase, eps is 1e-9, and tops 1 and 2 give them; with bn_mode: INFERENCE top =
    scale[c] * bottom + shift[c]. PSPNet's (any of slope_filler, bias_filler, frozen, momentum, eps) has four, scale,
    shift, mean and variance: when training, the latter become momentum * themselves + (1 - momentum) * the batch's;
    when testing, or if frozen, they are used as they are, and frozen ones train nothing.
    """

    in_place = True
    updates_weights = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.bn_param
        self.stored = any(p.HasField(name) for name in ("slope_filler", "bias_filler", "frozen", "momentum", "eps"))
        self.eps = p.eps if self.stored else _SEGNET_EPS
        self.affine = not self.stored and p.bn_mode == BNParameter.INFERENCE
        self.frozen, self.momentum = self.stored and p.frozen, p.momentum
        self.param_reads = ("bottom",) if self.affine and not self.runs_in_place else ()
        self.uses_stored = self.stored and (self.frozen or self.phase == TEST)
        if len(self.param.top) > 1 and (self.stored or self.affine):
            raise self.error("tops 1 and 2 are the batch's mean and variance, which only bn_mode: LEARN has; drop them")
        bottom = bottom_shapes[0]
        if len(bottom) < 2:
            raise self.error(f"the bottom must have 2 axes at least, items and channels, got shape {bottom}")
        fillers = [
            (p.slope_filler if p.HasField("slope_filler") else p.scale_filler, 1),
            (p.bias_filler if p.HasField("bias_filler") else p.shift_filler, 0),
        ]
        for filler, default in fillers:
            given = filler if filler.ListFields() else FillerParameter(value=default)
            self.add_weights((1, bottom[1], 1, 1), given)
        for _ in range(2 * self.stored):
            self.add_weights((1, bottom[1], 1, 1), FillerParameter())

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom, channels = bottom_shapes[0], self.blobs[0].count
        if len(bottom) < 2 or bottom[1] != channels:
            raise self.error(f"bottom shape {bottom} must keep the {channels} channels of the scale")
        self.extent = bottom[0], channels, math.prod(bottom[2:])
        if self.affine:
            if self.runs_in_place:
                self.kept: State = self.state("bottom", bottom)
            return [bottom]
        self.normalized: State = self.state("normalized", bottom)
        if not self.uses_stored:
            self.mean, self.variance, self.mean_diff, self.mean_product = (
                self.state(name, (channels,)) for name in ("mean", "variance", "mean_diff", "mean_product")
            )
        return [bottom, (1, channels, 1, 1), (1, channels, 1, 1)][: len(self.param.top)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        data, extent, weights = bottom[0].data, self.extent, [blob.data.reshape(-1) for blob in self.params]
        scale, shift = weights[:2]
        if self.affine:
            kept = self.kept.array if self.runs_in_place else None
            scale_forward(data, scale, shift, *extent, kept, top[0].data)
            return
        if not self.uses_stored:
            mean, variance = self.mean.array, self.variance.array
            batch_norm_batch_stats(data, *extent, mean, variance)
            if self.stored:
                bn_gather(mean, variance, self.momentum, *weights[2:])
            for statistic, given in zip((mean, variance), top[1:], strict=False):
                copy_forward(statistic, given.data.reshape(-1))
        else:
            mean, variance = weights[2:]
        normalized = self.normalized.array
        batch_norm_forward(data, mean, variance, *extent, None, normalized, eps=self.eps)
        scale_forward(normalized, scale, shift, *extent, None, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        top_diff, extent, weights = top[0].diff, self.extent, self.params
        if self.affine:
            unscaled = self.kept.array if self.runs_in_place else bottom[0].data
        else:
            unscaled = self.normalized.array
        if self.param_propagate_down[1] and not self.frozen:
            bias_backward_weights(top_diff, *extent, weights[1].diff, accumulate=True)
        if self.param_propagate_down[0] and not self.frozen:
            scale_backward_weights(unscaled, top_diff, *extent, weights[0].diff, accumulate=True)
        if not propagate_down[0]:
            return
        diff = bottom[0].diff
        scale_backward(top_diff, weights[0].data, *extent, diff)
        if self.uses_stored:
            batch_norm_global_backward(diff, weights[3].data.reshape(-1), *extent, diff, eps=self.eps)
        elif not self.affine:
            mean_diff, mean_product, variance = self.mean_diff.array, self.mean_product.array, self.variance.array
            batch_norm_diff_stats(diff, unscaled, *extent, mean_diff, mean_product)
            batch_norm_backward(diff, unscaled, mean_diff, mean_product, variance, *extent, diff, eps=self.eps)


@kernel("bn.cu", per="mean")
def bn_gather(mean: Floats, variance: Floats, momentum: float, stored_mean: Floats, stored_variance: Floats) -> None:
    """Each stored statistic = momentum * itself + (1 - momentum) * the batch's"""
    for stored, new in ((stored_mean, mean), (stored_variance, variance)):
        stored *= np.float32(momentum)
        stored += np.float32(1 - momentum) * new.reshape(stored.shape)
