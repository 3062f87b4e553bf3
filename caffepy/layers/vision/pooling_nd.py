"""Pooling along any number of axes: the last two with a window of the plane, then one after the other.

A maximum of maxima is the maximum, with the first place in row-major order; a mean of means over boxes whose sides are
cut each by itself is the mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from caffepy.blob import Floats, Shape
from caffepy.layer import Layer, State
from caffepy.layers.vision.arranged import shifts_of
from caffepy.layers.vision.window import Error, PoolingWindow
from caffepy.limits import ENTRY
from caffepy.proto.caffe_pb2 import PoolingParameter


@dataclass(frozen=True)
class Box:
    """The window, one value per spatial axis."""

    kernel: Shape
    stride: Shape
    pad: Shape

    @classmethod
    def read(cls, param: PoolingParameter, axes: int, error: Error) -> "Box":
        """kernel_shape, stride_shape and pad_shape, or kernel_size, stride and pad for all axes."""
        if any(param.HasField(f"{name}_{side}") for name in ("kernel", "stride", "pad") for side in "hw"):
            raise error(f"kernel_h, kernel_w and their like are for 2 spatial axes, here are {axes}; give kernel_size")
        per_axis = []
        for shape, alike in (("kernel_shape", "kernel_size"), ("stride_shape", "stride"), ("pad_shape", "pad")):
            given = tuple(getattr(param, shape).dim) or (getattr(param, alike),) * axes
            if len(given) != axes:
                raise error(f"{shape} has {len(given)} dim, the bottom {axes} spatial axes; give one for each")
            per_axis.append(given)
        box = cls(*per_axis)
        if min(box.kernel) < 1 or min(box.stride) < 1 or min(box.pad) < 0:
            raise error(f"kernel and stride must be at least 1, pad at least 0, got {box}")
        if any(pad >= kernel for pad, kernel in zip(box.pad, box.kernel, strict=True)):
            raise error(f"pad must be smaller than the kernel, got {box}")
        return box

    def plane(self, axis: int) -> PoolingWindow:
        """Along one axis, of planes whose columns are what follows it."""
        return PoolingWindow(self.kernel[axis], 1, self.stride[axis], 1, self.pad[axis], 0)


class Step(NamedTuple):
    """Pooling of planes: height, width, pooled height, pooled width."""

    planes: int
    extent: tuple[int, int, int, int]
    window: PoolingWindow


def steps_of(box: Box, bottom: Shape, *, round_up: bool) -> tuple[list[Step], Shape]:
    """The steps, and how many windows there are along each spatial axis; below 1 where a box does not fit."""
    spatial = list(bottom[2:])
    steps = []
    last = len(spatial) - 1
    if last:
        window = PoolingWindow(*box.kernel[-2:], *box.stride[-2:], *box.pad[-2:])
        height, width = spatial[-2:]
        pooled = window.pooled(height, width, round_up=round_up)
        steps.append(Step(math.prod(bottom[:-2]), (height, width, *pooled), window))
        spatial[-2:] = pooled
        last -= 2
    for axis in range(last, -1, -1):
        height, width, window = spatial[axis], math.prod(spatial[axis + 1 :]), box.plane(axis)
        spatial[axis] = window.pooled(height, 1, round_up=round_up)[0]
        steps.append(Step(math.prod(bottom[: 2 + axis]), (height, width, spatial[axis], width), window))
    return steps, tuple(spatial)


class Chain:
    """The steps with their memory: what each gives the next, and where maxima were."""

    def __init__(self, layer: Layer, steps: Sequence[Step], *, masks: bool) -> None:
        self.steps = steps
        self._values: list[State] = []
        self._diffs: list[State] = []
        self._masks: list[State] = []
        workspace = work = 0
        for i, (planes, extent, window) in enumerate(steps):
            size = planes, *extent[2:]
            if i + 1 < len(steps):
                self._values.append(layer.state(f"values{i}", size))
                self._diffs.append(layer.state(f"diffs{i}", size))
            if masks:
                self._masks.append(layer.state(f"mask{i}", size, "int32"))
            work += window.work(planes, *extent[2:])
            layer.reserve_work(work, ENTRY * window.taps)
            shifts = shifts_of(*extent, window)
            together = shifts.together(planes)
            workspace = max(workspace, shifts.arranged_count(together) + together * shifts.size)
        layer.reserve_workspace(workspace)

    def values(self, bottom: Floats, top: Floats) -> list[Floats]:
        """What goes into the first step, between the steps, and out of the last."""
        return [bottom, *(state.array for state in self._values), top]

    def diffs(self, bottom: Floats, top: Floats) -> list[Floats]:
        """The diffs of the same."""
        return [bottom, *(state.array for state in self._diffs), top]

    def mask(self, step: int) -> State:
        """Where each maximum of that step was."""
        return self._masks[step]
