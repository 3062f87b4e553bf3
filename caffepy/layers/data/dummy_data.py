"""DummyData: blobs that fillers fill."""

from collections.abc import Sequence

from caffepy.blob import Arrays, Shape
from caffepy.filler import Filler
from caffepy.layer import Layer, register
from caffepy.proto.caffe_pb2 import FillerParameter


@register("DummyData", bottoms=0, tops=(1, None))
class DummyData(Layer):
    """Nothing -> tops of the shapes given, filled by `data_filler`, zeros without; each one for all or one for each.

    A constant is written once, before the first pass, so that what the caller writes instead stays; other fillers draw
    anew for each pass (Caffe: dummy_data_layer.cpp).
    """

    host = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p, tops = self.param.dummy_data_param, len(self.param.top)
        self.shapes = self._shapes(tops)
        given = list(p.data_filler)
        if len(given) not in (0, 1, tops):
            raise self.error(f"{len(given)} data_filler for {tops} tops; give none, one for all, or one for each")
        params = given if len(given) == tops else (given or [FillerParameter()]) * tops
        self.top_fillers = [Filler(p, shape, self.error) for p, shape in zip(params, self.shapes, strict=True)]
        self.filled = False

    def _shapes(self, tops: int) -> list[Shape]:
        p = self.param.dummy_data_param
        legacy = [list(p.num), list(p.channels), list(p.height), list(p.width)]
        if p.shape and any(legacy):
            raise self.error("give shape, or num, channels, height and width; not both")
        if p.shape:
            shapes = [tuple(shape.dim) for shape in p.shape]
        elif all(len(extents) in (1, tops) for extents in legacy):
            shapes = list(
                zip(*(extents if len(extents) == tops else extents * tops for extents in legacy), strict=True)
            )
        else:
            raise self.error(f"give num, channels, height and width for all {tops} tops or for each, got {legacy}")
        if len(shapes) not in (1, tops):
            raise self.error(f"{len(shapes)} shapes for {tops} tops; give one for all of them, or one for each")
        if any(extent < 1 for shape in shapes for extent in shape):
            raise self.error(f"shapes {shapes}: every extent must be at least 1")
        return shapes if len(shapes) == tops else shapes * tops

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return self.shapes

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        for filler, arrays in zip(self.top_fillers, top, strict=True):
            if filler.param.type != "constant":
                filler.fill(arrays.data)
            elif filler.param.value != 0 and not self.filled and not arrays.data.any():
                filler.fill(arrays.data)  # memory that nobody has written to is zero
        self.filled = True

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is nothing below."""
