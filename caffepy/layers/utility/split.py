"""Split: one blob for several consumers."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register
from caffepy.layers.basis.elementwise import copy_backward


@register("Split", bottoms=1, tops=(1, None))
class Split(Layer):
    """Any shape -> tops of the same shape, which are the bottom's memory; bottom_diff = sum of the top_diffs."""

    shares = "data"
    row_bottoms = (0,)
    reads = ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [bottom_shapes[0]] * len(self.param.top)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        """The tops share the bottom's data."""

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if not propagate_down[0]:
            return
        bottom_diff = bottom[0].diff
        if len(top) == 1:
            copy_backward(top[0].diff, bottom_diff)
            return
        split_backward(top[0].diff, top[1].diff, bottom_diff)
        for further in top[2:]:
            split_backward(bottom_diff, further.diff, bottom_diff)


@kernel("elementwise.cu", per="bottom_diff", each=4)
def split_backward(first_diff: Floats, second_diff: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = first_diff + second_diff"""
    np.add(first_diff, second_diff, out=bottom_diff)
