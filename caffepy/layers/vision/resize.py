"""Interp, MaskResize, ResizeBilinear, ResizeNearestNeighbor and UpsampleDarknet: images of another size."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.utility.rearrange import channels_last
from caffepy.layers.vision.margins import Margins
from caffepy.proto.caffe_pb2 import ResizeToParameter


class Image(NamedTuple):
    """A blob as (planes, height, width, inner)."""

    planes: int
    height: int
    width: int
    inner: int


class Line(NamedTuple):
    """Along one axis: top place i stands at the bottom's place (i * step + first) / parts."""

    step: int
    first: int
    parts: int

    @staticmethod
    def between(extent: int, resized: int, align_corners: bool, half_pixel_centers: bool) -> "Line":
        """Corners on corners; or centres on the same part of the image; or left edges."""
        if align_corners:
            return Line(extent - 1, 0, resized - 1) if resized > 1 else Line(0, 0, 1)
        return Line(2 * extent, extent - resized, 2 * resized) if half_pixel_centers else Line(extent, 0, resized)

    def rounded(self) -> "Line":
        """Half a place further: rounded down, that is the nearest place."""
        return Line(2 * self.step, 2 * self.first + self.parts, 2 * self.parts)


class Resize(Layer):
    """An image of `height` x `width` for each plane of the bottom."""

    reads: tuple[Literal["bottom", "top"], ...] = ()

    def lay_out(self, bottom: Shape, height: int, width: int, last: bool = False) -> Shape:
        """Settle the sizes, channels being the last axis or the second; returns the top's shape."""
        self.afford(4 * bottom[0] * bottom[3 if last else 1] * height * width, f"a top of {height} x {width}")
        if height < 1 or width < 1:
            raise self.error(f"the top would be {height} x {width} for bottom shape {bottom}; make it 1 x 1 at least")
        if not math.prod(bottom[1:3] if last else bottom[2:]):
            raise self.error(f"bottom shape {bottom} is a picture without pixels; it needs 1 x 1 at least")
        if last:
            self.image = Image(bottom[0], bottom[1], bottom[2], bottom[3])
            self.size = height, width
            return bottom[0], height, width, bottom[3]
        self.image, self.size = Image(bottom[0] * bottom[1], bottom[2], bottom[3], 1), (height, width)
        return bottom[0], bottom[1], height, width

    def lines(self, align_corners: bool, half_pixel_centers: bool = False) -> tuple[Line, Line]:
        """Along height and along width."""
        extents = zip(self.image[1:3], self.size, strict=True)
        y, x = (Line.between(*pair, align_corners, half_pixel_centers) for pair in extents)
        return y, x


class Bilinear(Resize):
    """Every top value is the mean of the bottom's four around it, weighted by how near they are."""

    def settle(self, lines: tuple[Line, Line]) -> None:
        """Keep where each top row and column stands."""
        numbers = [number for line in lines for number in (line.step / line.parts, line.first / line.parts)]
        self.scale_y, self.shift_y, self.scale_x, self.shift_x = numbers

    def show(self, bottom_data: Floats, top_data: Floats) -> None:
        """Write the top."""
        numbers = self.scale_y, self.shift_y, self.scale_x, self.shift_x
        bilinear_forward(bottom_data, *self.image[1:], *self.size, *numbers, top_data)

    def collect(self, top_diff: Floats, bottom_diff: Floats) -> None:
        """Write the bottom's diff."""
        numbers = self.scale_y, self.shift_y, self.scale_x, self.shift_x
        bilinear_backward(top_diff, *self.image[1:], *self.size, *numbers, bottom_diff)


class Nearest(Resize):
    """Every top value is the bottom's nearest."""

    def settle(self, lines: tuple[Line, Line]) -> None:
        """Keep which bottom row and column each top one shows, and which top ones show each bottom one."""
        self.rows, self.columns = (
            self._states_of(name, line, extent, resized)
            for name, line, extent, resized in zip("yx", lines, self.image[1:3], self.size, strict=True)
        )

    def _states_of(self, axis: str, line: Line, extent: int, resized: int) -> tuple[State, State]:
        there = self.state(f"shown_{axis}", (resized,), np.int32)
        back = self.state(f"first_{axis}", (extent + 1,), np.int32)
        shown = ((np.arange(resized) * line.step + line.first) // line.parts).clip(0, extent - 1)
        first = np.searchsorted(shown, np.arange(extent + 1))
        there.set(shown)
        back.set(first)
        return there, back

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        rows, columns = self.rows[0].array, self.columns[0].array
        nearest_forward(bottom[0].data, *self.image[1:], *self.size, rows, columns, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            rows, columns = self.rows[1].array, self.columns[1].array
            nearest_backward(top[0].diff, *self.image[1:], *self.size, rows, columns, bottom[0].diff)


@register("Interp", bottoms=(1, 2), tops=1)
class Interp(Bilinear):
    """(n, c, h, w) -> (n, c, height, width), bilinear, the corners' centres on one another (DeepLab, PSPNet).

    The bottom without -pad_beg rows and columns before and -pad_end after is H x W; the top is `height` x `width`; or
    (H - 1) / shrink_factor + 1, then H + (H - 1) * (zoom_factor - 1), for those that are given; or as bottom 1.
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        n, c, h, w = self.expect_axes(bottom_shapes, 0, 4)
        p = self.param.interp_param
        if p.pad_beg > 0 or p.pad_end > 0:
            raise self.error(f"pad_beg: {p.pad_beg} and pad_end: {p.pad_end} only cut off; give 0 or less")
        cut = -p.pad_beg, -p.pad_end
        inner = n, c, h - sum(cut), w - sum(cut)
        if min(inner[2:]) < 1:
            raise self.error(f"pad_beg: {p.pad_beg} and pad_end: {p.pad_end} leave nothing of {bottom_shapes[0]}")
        self.crops = any(cut)
        if self.crops:
            self.margins = Margins(self, "crop", inner, [(0, 0), (0, 0), cut, cut])
            self.inner: State = self.state("inner", inner)
        top = self.lay_out(inner, *self._size(bottom_shapes, inner[2:]))
        self.settle(self.lines(align_corners=True))
        return [top]

    def _size(self, bottom_shapes: Sequence[Shape], inner: tuple[int, int]) -> tuple[int, int]:
        p = self.param.interp_param
        if len(bottom_shapes) == 2:
            height, width = self.expect_axes(bottom_shapes, 1, 4)[2:]
            return height, width
        shrinks, zooms = p.HasField("shrink_factor"), p.HasField("zoom_factor")
        if p.HasField("height") and p.HasField("width") and shrinks == zooms:
            return p.height, p.width
        if not shrinks and not zooms:
            raise self.error("give height and width, zoom_factor, shrink_factor, or a second bottom of the wanted size")
        if p.shrink_factor < 1 or p.zoom_factor < 1:
            raise self.error(f"shrink_factor: {p.shrink_factor}, zoom_factor: {p.zoom_factor}: give 1 at least")
        shrunk = [(extent - 1) // p.shrink_factor + 1 for extent in inner]
        height, width = (extent + (extent - 1) * (p.zoom_factor - 1) for extent in shrunk)
        return height, width

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self.crops:
            self.margins.cut(bottom[0].data, self.inner.array)
        self.show(self.inner.array if self.crops else bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self.collect(top[0].diff, self.inner.array if self.crops else bottom[0].diff)
            if self.crops:
                self.margins.put(self.inner.array, 0.0, bottom[0].diff)


def wanted(layer: Resize, p: ResizeToParameter, bottom: Shape) -> tuple[Shape, tuple[Line, Line]]:
    """TensorFlow's resizing: the top's shape, and the lines along height and width."""
    last = channels_last(layer, p.data_format)
    layer.expect_axes([bottom], 0, 4)
    if p.align_corners and p.half_pixel_centers:
        raise layer.error("give align_corners or half_pixel_centers, not both")
    if p.HasField("output_height") and p.HasField("output_width"):
        height, width = p.output_height, p.output_width
    elif p.HasField("scale_height") and p.HasField("scale_width"):
        if not all(0 < scale < np.inf for scale in (p.scale_height, p.scale_width)):
            raise layer.error(f"scale_height: {p.scale_height:g} and scale_width: {p.scale_width:g} must be above 0")
        height, width = int(bottom[1 if last else 2] * p.scale_height), int(bottom[2 if last else 3] * p.scale_width)
    else:
        raise layer.error("give output_height and output_width, or scale_height and scale_width")
    return layer.lay_out(bottom, height, width, last), layer.lines(p.align_corners, p.half_pixel_centers)


@register("ResizeBilinear", bottoms=1, tops=1)
class ResizeBilinear(Bilinear):
    """(n, c, h, w) -> (n, c, height, width), or channels last for data_format NHWC; bilinear (TensorFlow).

    The size is output_height x output_width, or the bottom's times scale_height and scale_width. Top row i stands at
    bottom row i * (h - 1) / (height - 1) with align_corners, at (i + 0.5) * h / height - 0.5 with half_pixel_centers,
    else at i * h / height.
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        top, lines = wanted(self, self.param.resize_bilinear_param, bottom_shapes[0])
        self.settle(lines)
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.show(bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self.collect(top[0].diff, bottom[0].diff)


@register("MaskResize", bottoms=1, tops=1)
class MaskResize(Bilinear):
    """(n, c, h, w) -> (n, c, output_height, output_width), bilinear; top row i stands at i * h / output_height (MNC).

    More than twice the size is refused: there MNC leaves the last rows and columns zero.
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        p, bottom = self.param.mask_resize_param, self.expect_axes(bottom_shapes, 0, 4)
        top = self.lay_out(bottom, p.output_height, p.output_width)
        if any(to > 2 * of for to, of in zip(top[2:], bottom[2:], strict=True)):
            raise self.error(f"the top would be {top[2]} x {top[3]}, more than twice as large as bottom shape {bottom}")
        self.settle(self.lines(align_corners=False))
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.show(bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self.collect(top[0].diff, bottom[0].diff)


@register("ResizeNearestNeighbor", bottoms=1, tops=1)
class ResizeNearestNeighbor(Nearest):
    """(n, c, h, w) -> (n, c, height, width), or channels last for data_format NHWC; nearest values (TensorFlow).

    The size is output_height x output_width, or the bottom's times scale_height and scale_width. Top row i shows
    bottom row i * (h - 1) / (height - 1), rounded, with align_corners, (i + 0.5) * h / height, rounded down, with
    half_pixel_centers, else i * h / height, rounded down.
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        p = self.param.resize_nearest_neighbor_param
        top, lines = wanted(self, p, bottom_shapes[0])
        y, x = (line.rounded() if p.align_corners or p.half_pixel_centers else line for line in lines)
        self.settle((y, x))
        return [top]


@register("UpsampleDarknet", bottoms=1, tops=1)
class UpsampleDarknet(Nearest):
    """(n, c, h, w) -> (n, c, h * stride, w * stride): every value stride x stride times (YOLO v3)."""

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        _, _, h, w = self.expect_axes(bottom_shapes, 0, 4)
        stride = self.param.upsample_darknet_param.stride or 1
        top = self.lay_out(bottom_shapes[0], h * stride, w * stride)
        self.settle(self.lines(align_corners=False))
        return [top]


@kernel("resize.cu", per="top_data")
def nearest_forward(
    bottom_data: Floats,
    height: int,
    width: int,
    inner: int,
    top_height: int,
    top_width: int,
    shown_y: Ints,
    shown_x: Ints,
    top_data: Floats,
) -> None:
    """top[p, i, j, c] = bottom[p, shown_y[i], shown_x[j], c]"""
    image = bottom_data.reshape(-1, height, width, inner)
    np.copyto(top_data.reshape(-1, top_height, top_width, inner), image[:, shown_y[:, None], shown_x])


@kernel("resize.cu", per="bottom_diff")
def nearest_backward(
    top_diff: Floats,
    height: int,
    width: int,
    inner: int,
    top_height: int,
    top_width: int,
    first_y: Ints,
    first_x: Ints,
    bottom_diff: Floats,
) -> None:
    """bottom_diff[p, y, x, c] = sum of top_diff[p, i, j, c], first_y[y] <= i < first_y[y + 1], and j so by x"""
    rows = np.zeros((top_diff.size // max(1, top_height * top_width * inner), height, top_width, inner), np.float32)
    top = top_diff.reshape(-1, top_height, top_width, inner)
    for y in range(height):
        top[:, first_y[y] : first_y[y + 1]].sum(axis=1, out=rows[:, y])
    bottom = bottom_diff.reshape(-1, height, width, inner)
    for x in range(width):
        rows[:, :, first_x[x] : first_x[x + 1]].sum(axis=2, out=bottom[:, :, x])


@kernel("resize.cu", per="top_data")
def bilinear_forward(
    bottom_data: Floats,
    height: int,
    width: int,
    inner: int,
    top_height: int,
    top_width: int,
    scale_y: float,
    shift_y: float,
    scale_x: float,
    shift_x: float,
    top_data: Floats,
) -> None:
    """top[p, i, j, c] = bottom[p, i * scale_y + shift_y, j * scale_x + shift_x, c], linear between places"""
    image = bottom_data.reshape(-1, height, width, inner)
    (y, below, weight_y), (x, right, weight_x) = (
        _around(height, top_height, scale_y, shift_y),
        _around(width, top_width, scale_x, shift_x),
    )
    rows = image[:, y] + weight_y[:, None, None] * (image[:, below] - image[:, y])
    across = rows[:, :, x] + weight_x[:, None] * (rows[:, :, right] - rows[:, :, x])
    np.copyto(top_data.reshape(across.shape), across)


@kernel("resize.cu", per="bottom_diff")
def bilinear_backward(
    top_diff: Floats,
    height: int,
    width: int,
    inner: int,
    top_height: int,
    top_width: int,
    scale_y: float,
    shift_y: float,
    scale_x: float,
    shift_x: float,
    bottom_diff: Floats,
) -> None:
    """bottom_diff[p, y, x, c] = sum over i, j of top_diff[p, i, j, c] * the weight bottom[p, y, x, c] has in it"""
    top, bottom = top_diff.reshape(-1, top_height, top_width, inner), bottom_diff.reshape(-1, height, width, inner)
    rows = np.zeros((len(top), height, top_width, inner), np.float32)
    for i, (y, below, weight) in enumerate(zip(*_around(height, top_height, scale_y, shift_y), strict=True)):
        rows[:, y] += (1 - weight) * top[:, i]
        rows[:, below] += weight * top[:, i]
    bottom[...] = 0
    for j, (x, right, weight) in enumerate(zip(*_around(width, top_width, scale_x, shift_x), strict=True)):
        bottom[:, :, x] += (1 - weight) * rows[:, :, j]
        bottom[:, :, right] += weight * rows[:, :, j]


def _around(extent: int, resized: int, scale: float, shift: float) -> tuple[Ints, Ints, Floats]:
    """For each place of the top: the bottom's places before and after it, and the weight of the latter."""
    at = np.arange(resized, dtype=np.float32) * np.float32(scale) + np.float32(shift)
    at = np.clip(at, 0, extent - 1)
    before = at.astype(np.int32)
    return before, np.minimum(before + 1, extent - 1), at - before
