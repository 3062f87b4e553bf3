"""The windows that convolution and pooling slide over an image, as the prototxt gives them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffepy.blob import Floats, Ints, Shape
from caffepy.errors import LayerError
from caffepy.limits import ENTRY
from caffepy.proto.caffe_pb2 import ConvolutionParameter, PoolingParameter

Error = Callable[[str], LayerError]
"""Makes a layer's error from a message."""


@dataclass(frozen=True)
class Window:
    """Convolution's window: one value per spatial axis, in pixels."""

    kernel: Shape
    stride: Shape
    pad: Shape
    dilation: Shape

    @classmethod
    def read(cls, param: ConvolutionParameter, axes: int, error: Error) -> "Window":
        """`pad: 1` for every axis, `pad: 1 pad: 0` for each of two, or `pad_h: 1 pad_w: 0`; likewise the others."""
        window = cls(
            _per_axis(param, "kernel_size", "kernel", None, axes, error),
            _per_axis(param, "stride", "stride", 1, axes, error),
            _per_axis(param, "pad", "pad", 0, axes, error),
            _per_axis(param, "dilation", None, 1, axes, error),
        )
        for name in ("kernel", "stride", "dilation"):
            if min(getattr(window, name), default=1) < 1:
                raise error(f"{name} must be at least 1 along every axis, got {getattr(window, name)}")
        return window

    def positions(self, extent: Shape) -> Shape:
        """How many windows fit along each axis, rounded down as Caffe does; below 1 where none does."""
        axes = zip(extent, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        return tuple((e + 2 * p - d * (k - 1) - 1) // s + 1 for e, k, s, p, d in axes)

    def extent(self, positions: Shape) -> Shape:
        """The smallest image along each axis that has as many windows; below 1 where pad alone has them."""
        axes = zip(positions, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        return tuple(s * (n - 1) + d * (k - 1) + 1 - 2 * p for n, k, s, p, d in axes)


def _per_axis(
    param: ConvolutionParameter, field: str, pair: str | None, default: int | None, axes: int, error: Error
) -> Shape:
    values = tuple(getattr(param, field))
    if pair is not None and (param.HasField(f"{pair}_h") or param.HasField(f"{pair}_w")):
        if values:
            raise error(f"give {field}, or {pair}_h and {pair}_w; not both")
        if axes != 2:
            raise error(f"{pair}_h and {pair}_w are for 2 spatial axes, here are {axes}; give {field} for each")
        return getattr(param, f"{pair}_h"), getattr(param, f"{pair}_w")
    if not values and default is None and axes:
        raise error(f"give {field}, or {pair}_h and {pair}_w")
    if len(values) > 1 and len(values) != axes:
        raise error(f"{field} is given {len(values)} times for {axes} spatial axes; give it once, or once for each")
    return values if len(values) == axes else (values[0] if values else default or 0,) * axes


@dataclass(frozen=True)
class PoolingWindow:
    """Pooling's window, in pixels."""

    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    pad_h: int = 0
    pad_w: int = 0

    @classmethod
    def read(cls, param: PoolingParameter, error: Error) -> "PoolingWindow":
        """`stride: 2`, or `stride_h: 2 stride_w: 1`; likewise kernel and pad."""
        kernel = _square_or_pair(param, "kernel_size", "kernel", 0, error)
        stride = _square_or_pair(param, "stride", "stride", 1, error)
        pad = _square_or_pair(param, "pad", "pad", 0, error)
        window = cls(*kernel, *stride, *pad)
        if min(kernel) < 1 or min(stride) < 1:
            raise error(f"kernel and stride must be at least 1, got {window}")
        if any(pad) and param.pool == PoolingParameter.STOCHASTIC:
            raise error("pool: STOCHASTIC takes no pad; remove it, or pool MAX or AVE")
        if pad[0] >= kernel[0] or pad[1] >= kernel[1]:
            raise error(f"pad must be smaller than the kernel, got {window}")
        return window

    @property
    def taps(self) -> int:
        """Pixels of a window."""
        return self.kernel_h * self.kernel_w

    def work(self, planes: int, pooled_height: int, pooled_width: int) -> int:
        """What it is to look at every window of so many planes, tap by tap; see limits.Limits."""
        return self.taps * (planes * pooled_height * pooled_width + ENTRY)

    def pooled(self, height: int, width: int, *, round_up: bool) -> tuple[int, int]:
        """How many windows there are along both axes; below 1 where the image is too small.

        If there is any pad, a last window that starts in the trailing pad is dropped (Caffe: pooling_layer.cpp).
        """
        padded = self.pad_h > 0 or self.pad_w > 0

        def along(extent: int, kernel: int, stride: int, pad: int) -> int:
            room = extent + 2 * pad - kernel
            pooled = (-(-room // stride) if round_up else room // stride) + 1
            return pooled - 1 if padded and (pooled - 1) * stride >= extent + pad else pooled

        return (
            along(height, self.kernel_h, self.stride_h, self.pad_h),
            along(width, self.kernel_w, self.stride_w, self.pad_w),
        )

    def holds(self, height: int, width: int) -> bool:
        """Whether the first window is the whole image."""
        return self.pad_h == self.pad_w == 0 and self.kernel_h >= height and self.kernel_w >= width

    def places(self, width: int, pooled_height: int, pooled_width: int) -> tuple[Ints, Ints]:
        """Of pixels, h * width + w: steps to a window's pixels from one before its corner; and those before corners."""
        step = np.arange(self.kernel_h)[:, None] * width + np.arange(self.kernel_w) + 1
        rows = np.arange(pooled_height) * self.stride_h - self.pad_h
        corner = rows[:, None] * width + np.arange(pooled_width) * self.stride_w - self.pad_w
        return step.reshape(-1).astype(np.int32), (corner - 1).astype(np.int32)

    def areas(self, height: int, width: int, pooled_height: int, pooled_width: int) -> Floats:
        """(pooled_height, pooled_width): pixels of each window, those in the pads counted; 1 for one wholly outside."""

        def along(pooled: int, kernel: int, stride: int, pad: int, extent: int) -> Floats:
            starts = np.arange(pooled) * stride - pad
            return np.minimum(kernel, extent + pad - starts).clip(1).astype(np.float32)

        rows = along(pooled_height, self.kernel_h, self.stride_h, self.pad_h, height)
        columns = along(pooled_width, self.kernel_w, self.stride_w, self.pad_w, width)
        return rows[:, None] * columns


# Caffe lets kernel_size win over one of kernel_h and kernel_w: its check is about the whole pair (pooling_layer.cpp).
def _square_or_pair(param: PoolingParameter, square: str, pair: str, default: int, error: Error) -> tuple[int, int]:
    given = [param.HasField(name) for name in (square, f"{pair}_h", f"{pair}_w")]
    half_pair = given[1] != given[2] and not (given[0] and square == "kernel_size")
    if half_pair or (given[0] and given[1] and given[2]):
        raise error(f"give {square}, or {pair}_h and {pair}_w; not both, not one of the pair")
    if not any(given) and square == "kernel_size":
        raise error("give kernel_size, or kernel_h and kernel_w, or global_pooling: true")
    if given[1] and given[2]:
        return getattr(param, f"{pair}_h"), getattr(param, f"{pair}_w")
    return (getattr(param, square) if given[0] else default,) * 2
