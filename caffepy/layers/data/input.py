"""Input: blobs that the caller fills."""

from collections.abc import Sequence

from caffepy.blob import Arrays, Shape
from caffepy.layer import Layer, register


@register("Input", bottoms=0, tops=(1, None))
class Input(Layer):
    """Nothing -> one top for each shape given, or every top of the one shape; the data stay as the caller left them."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        shapes = [tuple(shape.dim) for shape in self.param.input_param.shape]
        tops = len(self.param.top)
        if len(shapes) not in (0, 1, tops):
            raise self.error(f"{len(shapes)} shapes for {tops} tops; give one for all of them, or one for each")
        for shape in shapes:
            if min(shape, default=0) < 0:
                raise self.error(f"shape {shape}: every dim must be at least 0")
        self.shapes: list[Shape] = shapes if len(shapes) == tops else (shapes or [()]) * tops

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return self.shapes

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        """The caller has written the data."""

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is nothing below."""
