"""What detection layers share: tops of as many rows as were found, and what an SSD predicts."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import Layer
from caffepy.layers.detection import nms
from caffepy.layers.detection.boxes import Indices


class Found(Layer):
    """Tops of the shape that the data give. They have no derivative."""

    host = dynamic = True
    reads = ()
    found: list[Floats]

    def find(self, bottom: Sequence[Arrays]) -> list[Floats]:
        """The tops' values."""
        raise NotImplementedError

    def resolve(self, bottom: Sequence[Arrays]) -> Sequence[Shape]:
        self.found = self.find(bottom)
        return [values.shape for values in self.found]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        for values, arrays in zip(self.found, top, strict=True):
            np.copyto(arrays.data, values)

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is no derivative."""


class Counted(Found):
    """Found by operations on arrays that have room for whatever they may find, see caffepy.layers.detection.nms.

    Where nothing else asks for the number of rows, the passes of a GPU leave it there.
    """

    ready: list[Floats] | None = None
    """What `resolve` has found for the next forward pass."""

    def run(self, bottom: Sequence[Any], memory: dict[str, Any], found: Sequence[Any]) -> None:
        """Call the operations: they write the tops' values and memory["rows"]."""
        raise NotImplementedError

    def room(self) -> tuple[int, Sequence[Shape]]:
        raise NotImplementedError

    def reserve_lists(self, items: int, classes: int, loc_classes: int, number: int, room: int) -> None:
        """Settle the memory of lists, with the names and shapes of caffepy.layers.detection.nms."""
        lists = items * classes
        floats: dict[str, Shape] = {"boxes": (items, number, loc_classes, 4), "scores": (items, classes, number)}
        ints: dict[str, Shape] = {"kept": (lists, room), "counts": (lists,), "rows": (1,)}
        states = [self.state(name, shape) for name, shape in floats.items()]
        states += [self.state(name, shape, np.int32) for name, shape in ints.items()]
        self.memory = dict(zip((*floats, *ints), states, strict=True))
        self.reserve_workspace(nms.workspace_count(items, classes, number, room))

    def resolve(self, bottom: Sequence[Arrays]) -> Sequence[Shape]:
        memory: dict[str, Any] = {
            name: state.storage.host(math.prod(state.shape)).reshape(state.shape) for name, state in self.memory.items()
        }
        memory["workspace"] = np.empty(0, np.float32)
        axis, shapes = self.room()
        found = [np.empty(shape, np.float32) for shape in shapes]
        self.run([arrays.data for arrays in bottom], memory, found)
        there = (slice(None),) * axis + (slice(int(memory["rows"][0])),)
        self.ready = [values[there] for values in found]
        return [values.shape for values in self.ready]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self.ready is not None:
            self.found, self.ready = self.ready, None
            super().forward(bottom, top)
            return
        memory = {name: state.array for name, state in self.memory.items()}
        memory["workspace"] = self.workspace
        self.run([arrays.data for arrays in bottom], memory, [arrays.data for arrays in top])


class Detections(Found):
    """-> (1, 1, rows, 7): item, label, confidence, xmin, ymin, xmax, ymax, item by item.

    If nothing is found in any item there is a row for each: its number, and -1 six times.
    """

    def detect(self, bottom: Sequence[Arrays]) -> list[Floats]:
        """For each item (rows, 6): label, confidence, box."""
        raise NotImplementedError

    def find(self, bottom: Sequence[Arrays]) -> list[Floats]:
        items = self.detect(bottom)
        rows = np.concatenate([np.empty((0, 7)), *(np.insert(rows, 0, i, axis=1) for i, rows in enumerate(items))])
        if not len(rows):
            rows = np.full((len(items), 7), -1)
            rows[:, 0] = np.arange(len(items))
        return [rows.astype(np.float32)[None, None]]

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [(1, 1, 1, 7)]


def detections(labels: Indices | int, confidences: Floats, boxes: Floats) -> Floats:
    """(rows, 6) of as many labels, or one, confidences and boxes."""
    rows = np.empty((len(confidences), 6), np.float32)
    rows[:, 0], rows[:, 1], rows[:, 2:] = labels, confidences, boxes
    return rows


def known_objects(
    layer: Layer, index: int, rows: Floats, classes: float, background: int, items: float = np.inf
) -> Floats:
    """Of bottom `index`'s rows (g, 8), item, label, a number, box, difficult, those whose item is not -1.

    Raises the layer's error for one of a class or item that is not there, or of the background.
    """
    given = np.flatnonzero(rows[:, 0] != -1)
    rows = rows[given]
    item, label = rows[:, 0], rows[:, 1]
    known = (item >= 0) & (item < items) & (label >= 0) & (label < classes) & (label != background)
    if not known.all():
        wrong = int(known.argmin())
        of_items = "" if items == np.inf else f"the items 0 to {items - 1} and "
        raise layer.error(
            f"object {given[wrong]} of bottom {layer.param.bottom[index]!r} is of item {item[wrong]:g}, label "
            f"{label[wrong]:g}; there are {of_items}the labels 0 to {classes - 1}, of which {background} is background"
        )
    return rows


class SSD(Layer):
    """A layer that takes locations (n, priors * 4), scores (n, priors * classes) and priors (1, 2, priors * 4)."""

    def settle(self, bottom_shapes: Sequence[Shape], classes: int, loc_classes: int) -> None:
        """Check the shapes; with `loc_classes` above 1 a prior has a location for each class."""
        locations, scores, priors = bottom_shapes[:3]
        if len(priors) < 3 or priors[:2] != (1, 2) or priors[2] % 4 or math.prod(priors[3:]) != 1:
            raise self.error(
                f"bottom {self.param.bottom[2]!r} must have shape (1, 2, 4 for each prior), boxes and variances, got "
                f"{priors}"
            )
        self.priors, self.classes, self.loc_classes = priors[2] // 4, classes, loc_classes
        for index, (shape, values) in enumerate(((locations, loc_classes * 4), (scores, classes))):
            if not shape or shape[0] != locations[0] or math.prod(shape[1:]) != self.priors * values:
                raise self.error(
                    f"bottom {self.param.bottom[index]!r} has shape {shape}; {self.priors} priors need "
                    f"{self.priors * values} numbers, {values} each, for each of {locations[0] if locations else 0} "
                    "items"
                )

    def locations(self, arrays: Arrays) -> Floats:
        """(n, priors, loc_classes, 4)"""
        codes: Floats = arrays.data.reshape(-1, self.priors, self.loc_classes, 4)
        return codes

    def split(self, arrays: Arrays) -> tuple[Floats, Floats]:
        """The priors' boxes and variances, both (priors, 4)."""
        boxes, variances = arrays.data.reshape(-1, self.priors, 4)[:2]
        return boxes, variances
