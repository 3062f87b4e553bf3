"""Deconvolution: convolution's transpose, every pixel spread by a window."""

import math
from collections.abc import Sequence

from caffepy.blob import Arrays, Shape
from caffepy.layer import register
from caffepy.layers.common.scale import scale_forward
from caffepy.layers.vision.convolution import (
    BaseConvolution,
    convolution_backward,
    convolution_backward_bias,
    convolution_backward_weights,
    convolution_forward,
)


@register("Deconvolution", bottoms=(1, None), tops=(1, None))
class Deconvolution(BaseConvolution):
    """Each bottom (..., c, *positions) -> its top (..., num_output, *extent), with the same weights.

    top[o, i] = bias[o] + sum of weight[c, o, k] * bottom[c, p] over c, k, p with p * stride + k * dilation - pad = i;
    c and o in the same of `group` equal parts; extent = stride (positions - 1) + dilation (kernel - 1) + 1 - 2 pad.
    Weights: (c, num_output / group, *kernel); bias (num_output) (Caffe: base_conv_layer.cpp, deconv_layer.cpp).
    """

    @property
    def image_channels(self) -> int:
        return self.num_output

    @property
    def column_channels(self) -> int:
        return self.channels

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.check_bottoms(bottom_shapes)
        bottom = bottom_shapes[0]
        self.num, extent = math.prod(bottom[: self.axis]), self.window.extent(bottom[self.axis + 1 :])
        if min(extent, default=1) < 1:
            raise self.error(f"pad leaves nothing of the top: bottom shape {bottom} and {self.window} give {extent}")
        self.inner = math.prod(extent)
        self.reserve(self.num, extent, math.prod(bottom[self.axis + 1 :]))
        self.row_bottoms = range(len(bottom_shapes)) if self.axis else ()
        return [(*bottom[: self.axis], self.num_output, *extent)] * len(bottom_shapes)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        window, group, weight = self.window, self.group, self.factors()
        for b, t in zip(bottom, top, strict=True):
            convolution_backward(b.data, weight, self.workspace, t.data, window=window, group=group)
            if len(self.params) > 1:
                extent = self.num, self.num_output, self.inner
                scale_forward(t.data, None, self.params[1].data, *extent, None, t.data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        window, group, weight = self.window, self.group, self.params[0]
        for t, down, b in zip(top, propagate_down, bottom, strict=True):
            if self.param_propagate_down[0]:
                convolution_backward_weights(t.diff, b.data, self.workspace, weight.diff, window=window, group=group)
            if len(self.params) > 1 and self.param_propagate_down[1]:
                convolution_backward_bias(t.diff, self.num, self.inner, self.params[1].diff)
            if down:
                convolution_forward(t.diff, self.factors(), None, self.workspace, b.diff, window=window, group=group)
