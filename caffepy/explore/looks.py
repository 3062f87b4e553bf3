"""What can be seen in a net with a picture in it: sheets of feature maps, of gradients and of filters.

    looks.features(net, "cat.jpg", "conv1").save("conv1.png")

The page shows these and caffepy.saliency's maps; scripts may call them as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import ArgumentError, UnknownLayerError, nearest
from caffepy.net import Net
from caffepy.saliency import gradient, pictures
from caffepy.saliency.preprocess import images_of
from caffepy.saliency.score import only

COUNT = 48
"""Cells of a sheet, unless told otherwise."""
_SIDES = 32, 96  # of a cell, at least and at most
_COLUMNS = 8


@dataclass(frozen=True, eq=False)
class Sheet:
    """Channels of a blob, or filters of a layer, as small pictures."""

    what: str
    channels: tuple[int, ...]
    """What is in the cells, in their order."""
    values: tuple[float, ...]
    """How strong each is: the largest value, or the largest absolute one where values have signs."""
    cells: tuple[pictures.Picture, ...]
    """None for a blob without height and width: its values are all there is to see."""
    total: int
    """Channels or filters that there are."""

    def picture(self) -> pictures.Picture:
        """The cells in rows, each with its number."""
        cells = self.cells or tuple(np.full((_SIDES[0], _SIDES[0], 3), 255, np.uint8) for _ in self.channels)
        panels = [
            pictures.Panel(cell, f"{channel}" if self.cells else f"{channel}: {value:.3g}")
            for cell, channel, value in zip(cells, self.channels, self.values, strict=True)
        ]
        return pictures.grid([panels[i : i + _COLUMNS] for i in range(0, len(panels), _COLUMNS)], text_size=10, gap=4)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it; raises ArgumentError or MissingFileError as pictures.save."""
        pictures.save(self.picture(), path)


def features(net: Net, image: Any, blob: str, *, first: int = 0, count: int = COUNT) -> Sheet:
    """The channels of a blob with a picture in the net, those with the largest value first.

    image   whatever saliency methods take
    first, count   which of them, in that order

    All cells have one scale: white is the blob's 99.9th percentile. Raises ArgumentError or UnknownBlobError.
    """
    run(net, image)
    return _sheet(f"{blob}", net.blob(blob).data, first, count)


def gradients(
    net: Net, image: Any, blob: str, target: Any = "top", *, first: int = 0, count: int = COUNT, **options: Any
) -> Sheet:
    """The gradient of the target's score with respect to a blob's channels, those with the largest value first.

    target, options   as saliency.gradient's
    """
    found = gradient(net, image, target, layer=blob, **options)
    return _sheet(f"d {found.target[0]} / d {blob}", found.numpy(), first, count)


def filters(net: Net, layer: str, *, first: int = 0, count: int = COUNT) -> Sheet:
    """The weights of a layer that looks at pictures, (N, 1 or 3, height, width), each on a scale of its own.

    Raises UnknownLayerError, and ArgumentError where the layer has no such weights.
    """
    names = net.layer_names
    if layer not in names:
        raise UnknownLayerError(f"the net has no layer {layer!r}{nearest(layer, names)}")
    blobs = net.execution.layers[names.index(layer)].blobs
    shape = blobs[0].shape if blobs else ()
    if not are_pictures(shape):
        raise ArgumentError(
            f"layer {layer!r} has weights {shape}; only (N, 1 or 3, height, width) can be seen as pictures, which "
            "first layers have"
        )
    weights = np.asarray(blobs[0].data, np.float32)
    swap = shape[1] == 3 and getattr(net.preprocess, "order", "BGR") == "BGR"
    shown = range(len(weights))[first : first + count]
    cells = tuple(_filter(weights[i], swap=swap) for i in shown)
    values = tuple(float(np.abs(weights[i]).max()) for i in shown)
    return Sheet(f"filters of {layer}", tuple(shown), values, cells, len(weights))


def are_pictures(shape: Sequence[int]) -> bool:
    """Whether weights of that shape can be looked at."""
    return len(shape) == 4 and shape[1] in (1, 3) and shape[2] * shape[3] > 1


def run(net: Net, image: Any) -> Floats:
    """Put a picture through the whole net; the input as it went in, (1, channels, height, width).

    Raises ArgumentError where the net takes no single picture.
    """
    blob = net.blob(picture_input(net))
    data = images_of(image, blob.shape, net.preprocess)
    if blob.shape != data.shape:
        blob.reshape(data.shape)
    blob.data[...] = data
    net.forward_from_to(0, len(net.execution.layers) - 1)
    return data


def picture_input(net: Net) -> str:
    """The input that takes the picture; raises ArgumentError where there is none."""
    if not net.inputs:
        raise ArgumentError("this net has no input: its data come from a layer; open its deploy.prototxt instead")
    name = only(net.inputs, "input")
    shape = net.blob(name).shape
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise ArgumentError(
            f"input {name!r} is {'x'.join(map(str, shape))}; pictures can be looked at in nets whose input is "
            "(N, 1 or 3, height, width). The layers can be looked at all the same"
        )
    return name


def _sheet(what: str, data: Floats, first: int, count: int) -> Sheet:
    if data.ndim < 2:
        raise ArgumentError(f"{what} has shape {data.shape}: there are no channels to look at")
    planes = data[0].reshape(data.shape[1], -1) if data[0].size else np.zeros((0, 1), np.float32)
    if not np.isfinite(planes).all():
        raise ArgumentError(f"{what} holds values that are not finite; are the weights those of this net?")
    signed = bool(planes.size and planes.min() < 0)
    strength = np.abs(planes).max(axis=1) if signed else planes.max(axis=1, initial=0)
    order = [int(i) for i in np.argsort(-strength, kind="stable")][first : first + count]
    spatial = data.ndim == 4 and data.shape[2] * data.shape[3] > 1
    cells = tuple(_cells(data[0], order, signed=signed)) if spatial else ()
    values = tuple(float(planes[i, np.abs(planes[i]).argmax()]) for i in order)
    return Sheet(what, tuple(order), values, cells, len(planes))


def _cells(maps: Floats, order: Sequence[int], *, signed: bool) -> list[pictures.Picture]:
    top = np.float32(np.percentile(np.abs(maps), 99.9) or np.abs(maps).max() or 1)
    size = _cell_size(*maps.shape[1:])
    how: Literal["nearest", "linear"] = "nearest" if size[0] >= maps.shape[1] else "linear"
    scaled = [pictures.resize(np.clip(maps[i] / top, -1, 1), size, how) for i in order]
    return [pictures.diverging(one) if signed else pictures.heat(one) for one in scaled]


def _cell_size(height: int, width: int) -> tuple[int, int]:
    longest = max(height, width)
    factor = max(-(-_SIDES[0] // longest), 1) if longest < _SIDES[0] else min(_SIDES[1] / longest, 1)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _filter(weights: Floats, *, swap: bool) -> pictures.Picture:
    spread = float(np.abs(weights).max()) or 1.0
    image = (0.5 + 0.5 * weights / spread).transpose(1, 2, 0)
    picture = pictures.to_picture(image[:, :, ::-1] if swap else image)
    found: pictures.Picture = pictures.resize(picture, _cell_size(*picture.shape[:2]), "nearest")
    return found
