"""BatchNorm: each channel to mean 0 and variance 1, by the batch's statistics or by those gathered before."""

import logging
import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.channelwise import channel_blocks, channel_products, channel_sums
from caffepy.layers.common.scale import bias_backward_weights, scale_backward, scale_backward_weights, scale_forward
from caffepy.proto.caffe_pb2 import TEST, FillerParameter

log = logging.getLogger("caffepy")

_STATISTICS = 3  # of the weights


@register("BatchNorm", bottoms=1, tops=1)
class BatchNorm(Layer):
    """(n, c, ...) -> the same; top = (bottom - mean[c]) / sqrt(variance[c] + eps) (Ioffe & Szegedy 2015). In place too.

    Weights: sums of means (c) and of variances (c) over the batches seen, each sum multiplied by
    moving_average_fraction before the next is added, and the sum of the weights they were added with (1). Global
    statistics are the first two divided by the third (Caffe: batch_norm_layer.cpp). They are not learned.

    With scale_bias, scale_filler or bias_filler (NVCaffe), or bias_term (Intel), top is multiplied by a fourth weight
    (c) and a fifth (c) is added; both are learned. Weights of a file have them too where the prototxt does not say so.
    A file's third blob that is 0, as NVCaffe writes it, is taken for 1.
    """

    in_place = True
    updates_weights = True
    reads = ()
    param_reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.batch_norm_param
        self.eps, self.fraction = p.eps, p.moving_average_fraction
        self.use_global_stats = p.use_global_stats if p.HasField("use_global_stats") else self.phase == TEST
        self.adds_to_deviation = not p.add_eps_before_sqrt
        if self.adds_to_deviation and not self.use_global_stats:
            raise self.error(
                "add_eps_before_sqrt: false is there for use_global_stats: true only; leave it out for training"
            )
        for index, spec in enumerate(self.param.param[:_STATISTICS]):
            if spec.lr_mult != 0:
                raise self.error(f"param {index}: lr_mult is {spec.lr_mult:g}; the statistics are not learned, give 0")
        channels = self._channels(bottom_shapes[0])
        for shape in ((channels,), (channels,), (1,)):
            self.add_weights(shape, FillerParameter())
        if p.scale_bias or p.bias_term or p.HasField("scale_filler") or p.HasField("bias_filler"):
            self._add_scale()

    def _add_scale(self) -> None:
        p, shape = self.param.batch_norm_param, self.blobs[0].shape
        one = p.filler if p.HasField("filler") else FillerParameter(value=1)
        self.add_weights(shape, p.scale_filler if p.HasField("scale_filler") else one)
        self.add_weights(shape, p.bias_filler)

    def adopt(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        if len(shapes) == _STATISTICS + 2 > len(self.blobs):
            log.info("layer %r: the file has a scale and a bias for it, which are learned too", self.name)
            self._add_scale()
        return [tuple(length for length in shape if length != 1) or (1,) for shape in shapes]  # NVCaffe: (1, c, 1, 1)

    def loaded(self) -> None:
        factor = self.blobs[_STATISTICS - 1].data
        if factor[0] == 0 and any(blob.data.any() for blob in self.blobs[: _STATISTICS - 1]):
            log.info("layer %r: mean and variance are taken as they are: their factor is 0, as of NVCaffe", self.name)
            factor[...] = 1

    def _channels(self, bottom: Shape) -> int:
        return bottom[1] if len(bottom) > 1 else 1

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        channels = self._channels(bottom)
        if (channels,) != self.blobs[0].shape:
            raise self.error(f"bottom shape {bottom} has {channels} channels, the statistics {self.blobs[0].count}")
        self.extent = (bottom[0] if bottom else 1), channels, math.prod(bottom[2:])
        self.row_bottoms = (0,) if self.use_global_stats else ()
        self.mean: State = self.state("mean", (channels,))
        self.variance: State = self.state("variance", (channels,))
        if not self.use_global_stats or len(self.blobs) > _STATISTICS:
            self.normalized: State = self.state("normalized", bottom)
        if not self.use_global_stats:
            self.mean_diff: State = self.state("mean_diff", (channels,))
            self.mean_product: State = self.state("mean_product", (channels,))
        return [bottom]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        data, mean, variance = bottom[0].data, self.mean.array, self.variance.array
        mean_sum, variance_sum, weight_sum, *scale = (blob.data for blob in self.params)
        normalized = self.normalized.array if scale or not self.use_global_stats else None
        if self.use_global_stats:
            batch_norm_global_stats(mean_sum, variance_sum, weight_sum, mean, variance)
            if self.adds_to_deviation:
                batch_norm_widen(self.eps, variance)
        else:
            batch_norm_batch_stats(data, *self.extent, mean, variance)
            values = self.extent[0] * self.extent[2]
            batch_norm_gather_stats(mean, variance, values, mean_sum, variance_sum, weight_sum, fraction=self.fraction)
        batch_norm_forward(data, mean, variance, *self.extent, normalized, top[0].data, eps=self.added)
        if scale:
            scale_forward(top[0].data, scale[0], scale[1], *self.extent, None, top[0].data)

    @property
    def added(self) -> float:
        """What is added to a variance before its root is taken."""
        return 0.0 if self.adds_to_deviation else self.eps

    def _backward_scale(self, top_diff: Floats, bottom_diff: Floats | None) -> None:
        """The diffs of the scale and the bias, and in bottom_diff that of what they are applied to."""
        scale, bias = self.params[_STATISTICS:]
        if self.param_propagate_down[_STATISTICS]:
            scale_backward_weights(self.normalized.array, top_diff, *self.extent, scale.diff, accumulate=True)
        if self.param_propagate_down[_STATISTICS + 1]:
            bias_backward_weights(top_diff, *self.extent, bias.diff, accumulate=True)
        if bottom_diff is not None:
            scale_backward(top_diff, scale.data, *self.extent, bottom_diff)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        top_diff, variance = top[0].diff, self.variance.array
        if len(self.blobs) > _STATISTICS:
            self._backward_scale(top_diff, bottom[0].diff if propagate_down[0] else None)
        if not propagate_down[0]:
            return
        bottom_diff = bottom[0].diff
        if len(self.blobs) > _STATISTICS:
            top_diff = bottom_diff
        if self.use_global_stats:
            batch_norm_global_backward(top_diff, variance, *self.extent, bottom_diff, eps=self.added)
            return
        normalized, mean_diff, mean_product = self.normalized.array, self.mean_diff.array, self.mean_product.array
        batch_norm_diff_stats(top_diff, normalized, *self.extent, mean_diff, mean_product)
        batch_norm_backward(
            top_diff, normalized, mean_diff, mean_product, variance, *self.extent, bottom_diff, eps=self.eps
        )


@kernel("batch_norm_stats.cu", per="mean")
def batch_norm_global_stats(
    mean_sum: Floats, variance_sum: Floats, weight_sum: Floats, mean: Floats, variance: Floats
) -> None:
    """mean = mean_sum / weight_sum, variance = variance_sum / weight_sum; zeros where nothing was gathered"""
    factor = np.float32(0) if weight_sum[0] == 0 else 1 / weight_sum[0]
    np.multiply(mean_sum, factor, out=mean)
    np.multiply(variance_sum, factor, out=variance)


@kernel("batch_norm_stats.cu", per="variance")
def batch_norm_widen(eps: float, variance: Floats) -> None:
    """variance = (sqrt(variance) + eps)^2"""
    np.square(np.sqrt(variance) + np.float32(eps), out=variance)


@kernel("batch_norm_stats.cu", rows="mean", threads=1024)
def batch_norm_batch_stats(
    bottom_data: Floats, num: int, channels: int, inner: int, mean: Floats, variance: Floats
) -> None:
    """mean[c] = mean over n, i of bottom[n, c, i]; variance[c] = mean over n, i of (bottom[n, c, i] - mean[c])^2"""
    x = bottom_data.reshape(num, channels, inner)
    mean[...] = channel_sums(x)
    mean /= np.float32(num * inner)
    variance[...] = 0
    for part in channel_blocks(num, channels, inner):
        centred = x[part] - mean[part[1], None]
        variance[part[1]] += channel_products(centred, centred)
    variance /= np.float32(num * inner)


@kernel("batch_norm_gather.cu", per="mean")
def batch_norm_gather_stats(
    mean: Floats,
    variance: Floats,
    values: int,
    mean_sum: Floats,
    variance_sum: Floats,
    weight_sum: Floats,
    *,
    fraction: float,
) -> None:
    """Each sum = fraction * sum + (mean, variance * values / (values - 1), 1), for means over `values` values"""
    unbiased = values / (values - 1) if values > 1 else 1
    for total, new in ((mean_sum, mean), (variance_sum, variance * np.float32(unbiased)), (weight_sum, np.float32(1))):
        total *= np.float32(fraction)
        total += new


@kernel("batch_norm.cu", per="top_data", each=4)
def batch_norm_forward(
    bottom_data: Floats,
    mean: Floats,
    variance: Floats,
    num: int,
    channels: int,
    inner: int,
    normalized: Floats | None,
    top_data: Floats,
    *,
    eps: float,
) -> None:
    """top[n, c, i] = (bottom[n, c, i] - mean[c]) / sqrt(variance[c] + eps); normalized = top"""
    x, y = bottom_data.reshape(num, channels, inner), top_data.reshape(num, channels, inner)
    factor = _inverse_deviation(variance, eps)
    for part in channel_blocks(num, channels, inner):
        np.subtract(x[part], mean[part[1], None], out=y[part])
        y[part] *= factor[part[1]]
        if normalized is not None:
            normalized.reshape(num, channels, inner)[part] = y[part]


@kernel("batch_norm.cu", per="bottom_diff", each=4)
def batch_norm_global_backward(
    top_diff: Floats, variance: Floats, num: int, channels: int, inner: int, bottom_diff: Floats, *, eps: float
) -> None:
    """bottom_diff[n, c, i] = top_diff[n, c, i] / sqrt(variance[c] + eps)"""
    dy, dx = top_diff.reshape(num, channels, inner), bottom_diff.reshape(num, channels, inner)
    np.multiply(dy, _inverse_deviation(variance, eps), out=dx)


@kernel("batch_norm_stats.cu", rows="mean_diff", threads=1024)
def batch_norm_diff_stats(
    top_diff: Floats,
    normalized: Floats,
    num: int,
    channels: int,
    inner: int,
    mean_diff: Floats,
    mean_product: Floats,
) -> None:
    """mean_diff[c] = mean over n, i of top_diff; mean_product[c] = mean over n, i of top_diff * normalized"""
    dy, y = top_diff.reshape(num, channels, inner), normalized.reshape(num, channels, inner)
    np.divide(channel_sums(dy), np.float32(num * inner), out=mean_diff)
    np.divide(channel_products(dy, y), np.float32(num * inner), out=mean_product)


@kernel("batch_norm.cu", per="bottom_diff", each=4)
def batch_norm_backward(
    top_diff: Floats,
    normalized: Floats,
    mean_diff: Floats,
    mean_product: Floats,
    variance: Floats,
    num: int,
    channels: int,
    inner: int,
    bottom_diff: Floats,
    *,
    eps: float,
) -> None:
    """bottom_diff[n, c, i] = (top_diff - mean_diff[c] - mean_product[c] * normalized) / sqrt(variance[c] + eps)"""
    dy, y = top_diff.reshape(num, channels, inner), normalized.reshape(num, channels, inner)
    dx, factor = bottom_diff.reshape(num, channels, inner), _inverse_deviation(variance, eps)
    for part in channel_blocks(num, channels, inner):
        along = y[part] * mean_product[part[1], None]
        along += mean_diff[part[1], None]
        np.subtract(dy[part], along, out=dx[part])
        dx[part] *= factor[part[1]]


def _inverse_deviation(variance: Floats, eps: float) -> Floats:
    """(channels, 1): 1 / sqrt(variance + eps)"""
    factor: Floats = 1 / np.sqrt(variance + np.float32(eps))
    return factor[:, None]
