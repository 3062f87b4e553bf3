"""Silence: takes blobs that nobody wants, so that they are no outputs of the net."""

from collections.abc import Sequence

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register


@register("Silence", bottoms=(1, None), tops=0)
class Silence(Layer):
    """Any shapes -> nothing; bottom_diff = 0 (Caffe: silence_layer.cpp)."""

    reads = ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return []

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        """Nothing is computed."""

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        for arrays, down in zip(bottom, propagate_down, strict=True):
            if down:
                silence_backward(arrays.diff)


@kernel("elementwise.cu", per="bottom_diff")
def silence_backward(bottom_diff: Floats) -> None:
    """bottom_diff = 0"""
    bottom_diff[...] = 0
