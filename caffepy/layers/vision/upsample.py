"""Upsample and Unpooling: larger images, by the places a pooling's mask names or by repetition."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import LabelChecks
from caffepy.layers.vision.resize import Nearest
from caffepy.proto.caffe_pb2 import UnpoolingParameter

Reads = tuple[Literal["bottom", "top"], ...]


class Unpool(LabelChecks):
    """values (n, c, h, w), mask of the same shape -> (n, c, height, width), zeros where the mask names no place."""

    reads: Reads = ("bottom",)
    label_words = "place", "places of a plane", "give the size that the pooling's bottom had"

    def unpooled(self, bottom_shapes: Sequence[Shape], height: int, width: int) -> Shape:
        """Settle the sizes; returns the top's shape."""
        bottom, mask = bottom_shapes
        if mask != bottom:
            raise self.error(f"the mask has shape {mask}, the values {bottom}; give the second top of their pooling")
        if height < 1 or width < 1:
            raise self.error(f"the top would be {height} x {width} for bottom shape {bottom}; make it 1 x 1 at least")
        self.places, self.plane = bottom[2] * bottom[3], height * width
        self.owner: State = self.state("owner", (*bottom[:2], height, width), np.int32)
        self.settle_check()
        return bottom[0], bottom[1], height, width

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.check_labels(bottom[1], self.plane)
        unpool_clear(self.owner.array)
        unpool_claim(bottom[1].data, self.places, self.plane, self.owner.array)
        unpool_forward(bottom[0].data, self.owner.array, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            mask, owner = bottom[1].data, self.owner.array
            unpool_backward(top[0].diff, mask, self.places, self.plane, owner, bottom[0].diff)


@register("Unpooling", bottoms=2, tops=1)
class Unpooling(Unpool):
    """values (n, c, h, w), mask of the same shape -> (n, c, height, width), zeros but for the values (DeconvNet).

    The mask is the second top of a max pooling: top[n, c, mask] = values; of several values for one place the last
    counts. The size is unpool_size, or unpool_h x unpool_w, or (h - 1) * stride + kernel_size - 2 pad.
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        _, _, h, w = self.expect_axes(bottom_shapes, 0, 4)
        p = self.param.unpooling_param
        if p.unpool != UnpoolingParameter.MAX:
            raise self.error(f"unpool: {UnpoolingParameter.UnpoolMethod.Name(p.unpool)} is not known; give MAX")
        kernels, strides = (p.kernel_h or p.kernel_size, p.kernel_w or p.kernel_size), (p.stride_h, p.stride_w)
        given = p.unpool_h or p.unpool_size, p.unpool_w or p.unpool_size
        pads = p.pad_h or p.pad, p.pad_w or p.pad
        height, width = (
            size or (extent - 1) * (stride or p.stride) + kernel - 2 * pad
            for size, extent, stride, kernel, pad in zip(given, (h, w), strides, kernels, pads, strict=True)
        )
        return [self.unpooled(bottom_shapes, height, width)]


@register("Upsample", bottoms=(1, 2), tops=1)
class Upsample(Unpool, Nearest):
    """values (n, c, h, w) [, mask of the same shape] -> (n, c, h * scale, w * scale), zeros but for the values.

    The mask is the second top of a max pooling: top[n, c, mask] = values; of several values for one place the last
    counts (SegNet). The size is upsample_h x upsample_w, or scale (scale_h, scale_w) times the bottom's, by default 2,
    less 1 for pad_out_h and pad_out_w. Without a mask every value stands scale x scale times (YOLO v3).
    """

    reads: Reads

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.unpools = len(bottom_shapes) == 2
        self.reads = ("bottom",) if self.unpools else ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        _, _, h, w = self.expect_axes(bottom_shapes, 0, 4)
        p = self.param.upsample_param
        if self.unpools:
            height = p.upsample_h or h * (p.scale_h or p.scale or 2) - p.pad_out_h
            width = p.upsample_w or w * (p.scale_w or p.scale or 2) - p.pad_out_w
            return [self.unpooled(bottom_shapes, height, width)]
        scale = p.scale or p.stride
        if not scale:
            raise self.error("give scale, or a pooling's mask as second bottom")
        top = self.lay_out(bottom_shapes[0], h * scale, w * scale)
        self.settle(self.lines(align_corners=False))
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        (Unpool if self.unpools else Nearest).forward(self, bottom, top)

    def verify(self) -> None:
        if self.unpools:
            super().verify()

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        (Unpool if self.unpools else Nearest).backward(self, top, propagate_down, bottom)


@kernel("unpool.cu", per="owner")
def unpool_clear(owner: Ints) -> None:
    """owner = -1"""
    owner[...] = -1


@kernel("unpool.cu", per="mask_data")
def unpool_claim(mask_data: Floats, places: int, size: int, owner: Ints) -> None:
    """owner[i // places, mask[i]] = the largest such i, in planes of `size` places; other masks count for none"""
    index = np.flatnonzero((mask_data > -1) & (mask_data < size)).astype(np.int32)
    np.maximum.at(owner.reshape(-1), index // places * size + mask_data.reshape(-1)[index].astype(np.int32), index)


@kernel("unpool.cu", per="top_data")
def unpool_forward(bottom_data: Floats, owner: Ints, top_data: Floats) -> None:
    """top[i] = bottom[owner[i]], 0 where owner[i] is -1"""
    if top_data.size:
        np.copyto(top_data, np.where(owner < 0, np.float32(0), bottom_data.reshape(-1)[owner]))


@kernel("unpool.cu", per="bottom_diff")
def unpool_backward(
    top_diff: Floats, mask_data: Floats, places: int, size: int, owner: Ints, bottom_diff: Floats
) -> None:
    """bottom_diff[owner[i]] = top_diff[i], 0 for others"""
    bottom_diff[...] = 0
    owned = owner >= 0
    bottom_diff.reshape(-1)[owner[owned]] = top_diff[owned]
