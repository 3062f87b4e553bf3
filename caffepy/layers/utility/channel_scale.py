"""ChannelScale and MaskPooling: one scale for all channels of a place."""

import math
from collections.abc import Sequence

from caffepy.blob import Shape
from caffepy.layer import register
from caffepy.layers.utility.broadcast import Mul


@register("ChannelScale", bottoms=2, tops=1)
class ChannelScale(Mul):
    """bottom (n, c, ...), a scale for each item and place (n, 1, ...) -> as the bottom.

    top[n, c, i] = scale[n, i] * bottom[n, c, i] (caffe-windows: channel_scale_layer.cpp).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom, scale = bottom_shapes
        if len(bottom) < 2 or scale[:1] != bottom[:1] or math.prod(scale[1:]) != math.prod(bottom[2:]):
            raise self.error(
                f"bottom {self.param.bottom[1]!r} has shape {scale}; give one scale for each item and place of "
                f"bottom {self.param.bottom[0]!r}, whose shape is {bottom}: (n, 1, ...) for (n, c, ...)"
            )
        return super().reshape([bottom, (bottom[0], 1, *bottom[2:])])


@register("MaskPooling", bottoms=2, tops=1)
class MaskPooling(ChannelScale):
    """features (n, c, h, w), masks (n, 1, h, w) -> as the features; top = features * mask (Dai et al. 2016, MNC)."""
