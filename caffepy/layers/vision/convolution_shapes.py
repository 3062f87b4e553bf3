"""What a convolution's kernels see of its arrays: images of two axes, whatever the layer's axes are."""

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

from caffepy.blob import Shape
from caffepy.layers.basis.gemm_plan import vector
from caffepy.layers.vision.window import Window

FEW_OUTPUTS = 4
"""Outputs per channel up to which a depthwise convolution is computed as sums, not as products."""


@dataclass(frozen=True)
class Images:
    """Images and tops of two axes, as the kernels take them, in this order; channels and outputs are a group's.

    Pixels (image, channel, y, x) are at bottom_first + image * bottom_image + channel * bottom_channel + y * width + x,
    positions likewise.
    """

    num: int
    channels: int
    height: int
    width: int
    bottom_first: int
    bottom_image: int
    bottom_channel: int
    outputs: int
    top_height: int
    top_width: int
    top_first: int
    top_image: int
    top_channel: int

    @property
    def positions(self) -> int:
        """Of one top."""
        return self.top_height * self.top_width

    @property
    def bottom_vector(self) -> int:
        """Pixels that can be read or written at once, all of one image and channel."""
        return vector(self.height * self.width, self.bottom_first, self.bottom_image, self.bottom_channel)

    @property
    def top_vector(self) -> int:
        """Positions that can be read or written at once, all of one image and output."""
        return vector(self.positions, self.top_first, self.top_image, self.top_channel)


@dataclass(frozen=True)
class Unfolding:
    """One axis of one image unfolded, with the numbers that kernels/vision/unfold.cuh takes."""

    channels: int
    later: int
    before: int
    extent: int
    positions: int
    inner: int
    kernel: int
    stride: int
    pad: int
    dilation: int

    @property
    def folded_count(self) -> int:
        """Elements before."""
        return self.channels * self.later * self.before * self.extent * self.inner

    @property
    def unfolded_count(self) -> int:
        """Elements afterwards."""
        return self.channels * self.kernel * self.later * self.before * self.positions * self.inner

    @property
    def arguments(self) -> tuple[int, ...]:
        """The kernels' last."""
        return astuple(self)[1:]


@dataclass(frozen=True)
class Call:
    """What one call convolves: `num` images (channels, *extent) to tops (outputs, *positions)."""

    num: int
    channels: int
    extent: Shape
    outputs: int
    positions: Shape
    window: Window
    group: int

    @classmethod
    def of(cls, bottom: Any, weight: Any, top: Any, window: Window, group: int) -> "Call":
        """From the arrays' shapes."""
        axes, channels = len(window.kernel), weight.shape[1] * group
        extent, positions = (tuple(array.shape[len(array.shape) - axes :]) for array in (bottom, top))
        num = bottom.size // max(1, channels * math.prod(extent))
        return cls(num, channels, extent, weight.shape[0], positions, window, group)

    @property
    def weights(self) -> int:
        """Elements of the weights."""
        return self.outputs * self.channels // self.group * math.prod(self.window.kernel)

    @property
    def pixels(self) -> int:
        """Elements of all images."""
        return self.num * self.channels * math.prod(self.extent)

    @property
    def results(self) -> int:
        """Elements of all tops."""
        return self.num * self.outputs * math.prod(self.positions)

    @property
    def pointwise(self) -> bool:
        """Whether a position sees its own pixel only; then all axes are one."""
        w = self.window
        return {*w.kernel, *w.stride} == {1} and not any(w.pad)

    @property
    def depthwise(self) -> bool:
        """Whether there is one channel to a group, and few outputs."""
        few = self.channels == self.group > 1 and self.outputs <= FEW_OUTPUTS * self.group
        return few and len(self.extent) <= 2 and not self.pointwise

    @property
    def unfoldings(self) -> list[Unfolding]:
        """What makes images of two axes of one image, in this order; empty where it has two."""
        w, steps = self.window, []
        axes = 0 if self.pointwise else len(self.extent) - 2
        inner = math.prod(self.extent[max(0, axes) :])
        for a in range(axes - 1, -1, -1):
            later, before = math.prod(w.kernel[a + 1 : axes]), math.prod(self.extent[:a])
            sizes = later, before, self.extent[a], self.positions[a], inner
            steps.append(Unfolding(self.channels, *sizes, w.kernel[a], w.stride[a], w.pad[a], w.dilation[a]))
            inner *= self.positions[a]
        return steps

    @property
    def stages(self) -> list[int]:
        """Where in the workspace the results of each unfolding are, and behind them all free."""
        places = [0]
        for step in self.unfoldings:
            places.append(places[-1] + -(-step.unfolded_count // 4) * 4)
        return places

    def pair(self, name: str, default: int) -> tuple[int, int]:
        """The window's `name` (kernel, stride, pad, dilation) along the two axes."""
        values = (default, *getattr(self.window, name))
        return (default if self.pointwise else values[-2]), values[-1]

    @property
    def window_constants(self) -> dict[str, int | bool]:
        """The window as kernels are compiled for it: kernel_h, kernel_w and so on."""
        constants: dict[str, int | bool] = {}
        for name, default in (("kernel", 1), ("stride", 1), ("pad", 0), ("dilation", 1)):
            constants[f"{name}_h"], constants[f"{name}_w"] = self.pair(name, default)
        return constants

    def images(self) -> Iterator[tuple[int, Images]]:
        """Images of two axes: all at once, or if they have to be unfolded one after the other; with their number."""
        channels, outputs = self.channels // self.group, self.outputs // self.group
        if self.pointwise:
            height, width, top_height, top_width = 1, math.prod(self.extent), 1, math.prod(self.positions)
        else:
            (height, width), (top_height, top_width) = ((1, *e)[-2:] for e in (self.extent, self.positions))
        pixels, positions = height * width, top_height * top_width
        if not self.unfoldings:
            bottom = self.num, channels, height, width, 0, self.channels * pixels, pixels
            yield 0, Images(*bottom, outputs, top_height, top_width, 0, self.outputs * positions, positions)
            return
        axes = len(self.extent) - 2
        together, seen = math.prod(self.positions[:axes]), channels * math.prod(self.window.kernel[:axes])
        for n in range(self.num):
            bottom = together, seen, height, width, self.stages[-2], pixels, together * pixels
            first = n * self.outputs * together * positions
            yield n, Images(*bottom, outputs, top_height, top_width, first, positions, together * positions)
