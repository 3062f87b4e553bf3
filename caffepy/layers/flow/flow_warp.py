"""FlowWarp: an image, seen where a flow field points."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import THREADS, Launch, kernel
from caffepy.layer import Layer, State, register
from caffepy.proto.caffe_pb2 import FlowWarpParameter


@register("FlowWarp", bottoms=2, tops=1)
class FlowWarp(Layer):
    """image (n, c, h, w), flow (n, 2, h, w) in pixels along x and y -> (n, c, h, w) (Ilg et al. 2017: FlowNet 2.0).

    top[n, c, y, x] = image[n, c, y + flow_y, x + flow_x], linear between pixels; fill_value where that is not at least
    0 and below h and w. Between the last pixel and the end of its row or column the last pixel stands.
    """

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        zero = self.param.flow_warp_param.fill_value == FlowWarpParameter.ZERO
        self.fill_value = 0.0 if zero else float("nan")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        n, c, h, w = self.expect_axes(bottom_shapes, 0, 4)
        if bottom_shapes[1] != (n, 2, h, w):
            raise self.error(
                f"bottom {self.param.bottom[1]!r}, the flow, has shape {bottom_shapes[1]}; for the image's shape "
                f"{bottom_shapes[0]} it must be {(n, 2, h, w)}"
            )
        self.sizes = c, h, w
        self.chains: State = self.state("chains", (2, n, h, w), np.int32)
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        flow_warp_forward(bottom[0].data, bottom[1].data, *self.sizes, self.fill_value, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        (image, flow), top_diff = bottom, top[0].diff
        if propagate_down[0]:
            flow_warp_backward_image(top_diff, flow.data, *self.sizes, self.chains.array, image.diff)
        if propagate_down[1]:
            flow_warp_backward_flow(image.data, flow.data, top_diff, *self.sizes, flow.diff)


def _image_plan(
    top_diff: Any, flow_data: Any, channels: int, height: int, width: int, workspace: Any, image_diff: Any
) -> list[Launch]:
    """The positions that point into a square between four pixels are chained, in order; then every pixel looks at the
    chains of the squares around it."""

    def launch(entry: str, count: int, *names: str) -> Launch:
        return Launch(entry, (-(-count // THREADS),), (THREADS,), (count, *names))

    squares = flow_data.size // 2
    if not image_diff.size:
        return []
    return [
        launch("flow_warp_clear", squares, "workspace"),
        launch("flow_warp_chain", squares, "flow_data", "height", "width", "workspace"),
        launch("flow_warp_order", squares, "workspace"),
        launch(
            "flow_warp_backward_image",
            image_diff.size,
            *("top_diff", "flow_data", "channels", "height", "width", "workspace", "image_diff"),
        ),
    ]


@kernel("flow_warp.cu", per="top_data")
def flow_warp_forward(
    image_data: Floats, flow_data: Floats, channels: int, height: int, width: int, fill_value: float, top_data: Floats
) -> None:
    """top[n, c, y, x] = image[n, c, y + flow[n, 1, y, x], x + flow[n, 0, y, x]], linear between pixels; fill_value
    outside"""
    seen = _seen(flow_data, height, width)
    image = image_data.reshape(len(seen.inside), channels, height * width)
    total = sum(_pixels(image, at) * weight[:, None] for at, weight in seen.corners())
    np.copyto(top_data.reshape(image.shape), np.where(seen.inside[:, None], total, np.float32(fill_value)))


@kernel("flow_warp.cu", plan=_image_plan)
def flow_warp_backward_image(
    top_diff: Floats, flow_data: Floats, channels: int, height: int, width: int, workspace: Ints, image_diff: Floats
) -> None:
    """image_diff[n, c, q] = sum over the positions p of top_diff[n, c, p] * the weight that image[n, c, q] has there"""
    seen, extent = _seen(flow_data, height, width), height * width
    at, weights = seen.flat()
    diff = top_diff.reshape(len(at), channels, extent)
    result = image_diff.reshape(diff.shape)
    for n, c in np.ndindex(*diff.shape[:2]):
        result[n, c] = np.bincount(at[n].reshape(-1), (weights[n] * diff[n, c]).reshape(-1), extent)


@kernel("flow_warp.cu", per="flow_diff")
def flow_warp_backward_flow(
    image_data: Floats,
    flow_data: Floats,
    top_diff: Floats,
    channels: int,
    height: int,
    width: int,
    flow_diff: Floats,
) -> None:
    """flow_diff[n, a, y, x] = sum over c of top_diff[n, c, y, x] * the image's slope along a there; 0 outside"""
    seen = _seen(flow_data, height, width)
    shape = len(seen.inside), channels, height * width
    image, diff = image_data.reshape(shape), top_diff.reshape(shape)
    (tl, tr), (bl, br) = [
        [_pixels(image, y * width + x) for x in (seen.left, seen.right)] for y in (seen.top, seen.low)
    ]
    beta, alpha = seen.beta[:, None], seen.alpha[:, None]
    slopes = (tr - tl) + beta * ((br - bl) - (tr - tl)), (bl - tl) + alpha * ((br - tr) - (bl - tl))
    for axis, slope in enumerate(slopes):
        along = np.einsum("nci,nci->ni", diff, slope)
        flow_diff.reshape(shape[0], 2, shape[2])[:, axis] = np.where(seen.inside, along, np.float32(0))


class _Seen(NamedTuple):
    """Where positions (n, h * w) point to: between which pixels, and how far from the first of them."""

    width: int
    inside: Any
    top: Ints
    low: Ints
    left: Ints
    right: Ints
    beta: Floats
    alpha: Floats

    def corners(self) -> list[tuple[Ints, Floats]]:
        """The four pixels, and their weights."""
        return [
            (y * self.width + x, wy * wx)
            for y, wy in ((self.top, 1 - self.beta), (self.low, self.beta))
            for x, wx in ((self.left, 1 - self.alpha), (self.right, self.alpha))
        ]

    def flat(self) -> tuple[Ints, Floats]:
        """(n, 4, h * w): the pixels, and their weights, 0 outside."""
        at, weights = zip(*self.corners(), strict=True)
        return np.stack(at, axis=1), np.stack(weights, axis=1) * self.inside[:, None]


def _seen(flow_data: Floats, height: int, width: int) -> _Seen:
    flow = flow_data.reshape(-1, 2, height, width)
    x = np.arange(width, dtype=np.float32) + flow[:, 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[:, 1]
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y = (np.where(inside, place, 0).reshape(len(flow), -1) for place in (x, y))
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, low = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    return _Seen(width, inside.reshape(x.shape), top, low, left, right, y - top, x - left)


def _pixels(image: Floats, at: Ints) -> Floats:
    """(n, c, h * w): the pixels of an image so laid out that stand at `at` (n, h * w)."""
    return np.take_along_axis(image, at[:, None].astype(np.intp), axis=2)
