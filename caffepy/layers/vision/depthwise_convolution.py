"""DepthwiseConvolution and ConvolutionDepthwise: convolution of every channel by itself."""

from collections.abc import Sequence

from caffepy.blob import Shape
from caffepy.layer import register
from caffepy.layers.vision.convolution import Convolution


@register("DepthwiseConvolution", bottoms=(1, None), tops=(1, None))
class DepthwiseConvolution(Convolution):
    """Each bottom (..., c, *extent) -> its top (..., num_output, *positions): Convolution with group: c (MobileNet)."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.convolution_param
        channels = bottom_shapes[0][self.canonical_axis(p.axis, bottom_shapes[0])]
        if p.HasField("group") and p.group != channels:
            raise self.error(f"group: {p.group} must be the number of channels, {channels}; leave it out")
        p.group = channels
        super().setup(bottom_shapes)


@register("ConvolutionDepthwise", bottoms=(1, None), tops=(1, None))
class ConvolutionDepthwise(DepthwiseConvolution):
    """Each bottom (..., c, *extent) -> its top (..., num_output, *positions): as DepthwiseConvolution."""
