"""Squeeze: axes of length 1 dropped."""

from collections.abc import Sequence

from caffepy.blob import Shape
from caffepy.layer import register
from caffepy.layers.utility.reshape import _View


@register("Squeeze", bottoms=1, tops=1)
class Squeeze(_View):
    """Any shape -> the same without the axes `axis`, of length 1; without all that have length 1 if none is given."""

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        shape, given = bottom_shapes[0], self.param.squeeze_param.axis
        dropped = {self.canonical_axis(axis, shape) for axis in given}
        for axis in sorted(dropped):
            if shape[axis] != 1:
                raise self.error(
                    f"axis: {axis} of bottom shape {shape} has length {shape[axis]}; drop axes of length 1"
                )
        return [tuple(n for i, n in enumerate(shape) if (i not in dropped if given else n != 1))]
