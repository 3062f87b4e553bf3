"""What is asked for of each picture."""

import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Floats
from caffepy.errors import ArgumentError, MissingFileError, nearest
from caffepy.net import Net
from caffepy.saliency.labels import find_class, read_labels
from caffepy.saliency.method import named

Columns = Mapping[str, NDArray[Any] | Sequence[Any]]
"""By name an array whose first axis counts the pictures, or for each picture an array of its own."""

DETECTIONS = ("label", "score", "xmin", "ymin", "xmax", "ymax")
"""What the six numbers of a detection are."""
_DETECTION_LAYERS = ("DetectionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput")


class Task(Protocol):
    """What is asked for. It can be pickled."""

    own_passes: ClassVar[bool]
    """Whether it runs the net itself; else the pictures have been passed forward, beside others if there are few."""

    @property
    def keep(self) -> tuple[str, ...] | None:
        """The blobs that it looks at beside the net's outputs; None for all, and gradients: others share memory."""

    def options(self) -> dict[str, Any]:
        """What tells it from others, for a manifest."""

    def check(self, net: Net) -> None:
        """Raise ArgumentError or UnknownBlobError where the net cannot give it; called once."""

    def last_layer(self, net: Net) -> int:
        """The index of the last layer that has to run forward."""

    def columns(self, net: Net, data: Floats) -> Columns:
        """The answer for the first len(data) pictures that are in the net's input."""


class _Forward:
    own_passes: ClassVar[bool] = False

    @property
    def keep(self) -> tuple[str, ...] | None:
        """The net's outputs alone."""
        return ()

    def last_layer(self, net: Net) -> int:
        """The index of the last layer that has to run forward: the net's last."""
        return len(net.execution.layers) - 1


@dataclass(frozen=True)
class Blobs(_Forward):
    """What these blobs hold."""

    names: tuple[str, ...]

    @property
    def keep(self) -> tuple[str, ...]:
        """These blobs."""
        return self.names

    def options(self) -> dict[str, Any]:
        """The blobs' names."""
        return {"blobs": list(self.names)}

    def check(self, net: Net) -> None:
        """Raise UnknownBlobError, or ArgumentError where a blob's first axis does not count the pictures."""
        for name in self.names:
            shape = net.blob(name).shape
            if not shape or shape[0] != net.blob(net.inputs[0]).shape[0]:
                raise ArgumentError(f"blob {name!r} has shape {shape}; its first axis must count the pictures")

    def last_layer(self, net: Net) -> int:
        """The last layer that writes one of them."""
        wanted = {net.blob_index(name) for name in self.names}
        return max(i for i, tops in enumerate(net.wiring.tops) if wanted & set(tops))

    def columns(self, net: Net, data: Floats) -> Columns:
        """A column for each blob."""
        return {name: _read(net, name)[: len(data)].copy() for name in self.names}


@dataclass(frozen=True)
class Classify(_Forward):
    """The best classes: `classes`, `values` and, with labels, their `names`."""

    top: int = 5
    labels: tuple[str, ...] | None = None
    output: str | None = None
    """The blob of class values; default: the net's only output."""

    def options(self) -> dict[str, Any]:
        """All of it."""
        return {"classify": self.top, "output": self.output, "labels": _digest("\n".join(self.labels or ()))}

    @property
    def keep(self) -> tuple[str, ...]:
        """The blob of class values."""
        return () if self.output is None else (self.output,)

    def _blob(self, net: Net) -> str:
        if self.output is None and len(net.outputs) != 1:
            raise ArgumentError(f"the net has the outputs {', '.join(net.outputs) or 'none'}; say which: --output BLOB")
        return self.output or net.outputs[0]

    def check(self, net: Net) -> None:
        """Raise ArgumentError where there are several outputs, too few labels or too few classes."""
        blob = self._blob(net)
        Blobs((blob,)).check(net)
        classes = int(np.prod(net.blob(blob).shape[1:]))
        if self.labels is not None and len(self.labels) != classes:
            raise ArgumentError(f"{len(self.labels)} labels for {classes} classes; give one for each")
        if not 1 <= self.top <= classes:
            raise ArgumentError(f"the best {self.top} of {classes} classes; give 1 to {classes}")

    def columns(self, net: Net, data: Floats) -> Columns:
        """The best `top` classes, best first."""
        values = _read(net, self._blob(net))[: len(data)].reshape(len(data), -1)
        classes = np.argsort(-values, axis=1, kind="stable")[:, : self.top].astype(np.int32)
        found: dict[str, Any] = {"classes": classes, "values": np.take_along_axis(values, classes, 1)}
        if self.labels is not None:
            found["names"] = np.asarray(self.labels)[classes]
        return found


@dataclass(frozen=True)
class Detect(_Forward):
    """What an SSD or a YOLO net detects: for each picture (detections, 6), see DETECTIONS."""

    threshold: float = 0.0
    """The least score."""

    def options(self) -> dict[str, Any]:
        """The threshold."""
        return {"detect": self.threshold}

    def _blob(self, net: Net) -> str:
        layers = [layer for layer in net.execution.layers if layer.type in _DETECTION_LAYERS]
        if not layers:
            raise ArgumentError(f"the net detects nothing: it has no layer of type {', '.join(_DETECTION_LAYERS)}")
        return layers[-1].param.top[0]

    def check(self, net: Net) -> None:
        """Raise ArgumentError where the net does not detect."""
        self._blob(net)

    def columns(self, net: Net, data: Floats) -> Columns:
        """The rows of each picture; none where nothing was found."""
        rows = _read(net, self._blob(net)).reshape(-1, 7)
        rows = rows[(rows[:, 1] >= 0) & (rows[:, 2] >= self.threshold)]
        return {"detections": [rows[rows[:, 0] == i, 1:].copy() for i in range(len(data))]}


@dataclass(frozen=True)
class Explain:
    """Maps of a saliency method: `saliency` (height, width), `target` and `score`; or pictures of them."""

    own_passes: ClassVar[bool] = True
    keep: ClassVar[None] = None
    method: str
    target: int | str = "top"
    """A class by its number or its label, or "top"."""
    labels: tuple[str, ...] | None = None
    show: Literal["values", "map", "overlay"] = "values"

    def options(self) -> dict[str, Any]:
        """All of it."""
        return {"saliency": self.method, "target": self.target, "show": self.show}

    def _target(self) -> int | str:
        if self.target == "top" or isinstance(self.target, int):
            return self.target
        if self.target.lstrip("-").isdigit():
            return int(self.target)
        if self.labels is None:
            raise ArgumentError(f"target {self.target!r} is no class index; to go by names give --labels FILE")
        return find_class(self.target, list(self.labels))

    def check(self, net: Net) -> None:
        """Raise ArgumentError where there is no such method or class."""
        named(self.method)
        self._target()

    def last_layer(self, net: Net) -> int:
        """The last; the method runs the net itself."""
        return len(net.execution.layers) - 1

    def columns(self, net: Net, data: Floats) -> Columns:
        """A map of each picture, at its size."""
        net.labels = self.labels
        found = named(self.method)(net, data, self._target())
        pictures = range(len(data))
        if self.show == "overlay":
            return {"picture": [found.overlay(i, longest=max(data.shape[2:])) for i in pictures]}
        if self.show == "map":
            return {"picture": [found.panel(i, longest=max(data.shape[2:])).picture for i in pictures]}
        targets = np.array(found.classes or [-1] * len(data), np.int32)
        return {"saliency": found.upsampled().astype(np.float32), "target": targets, "score": np.asarray(found.score)}


@dataclass(frozen=True)
class Function(_Forward):
    """A user's function of a net, after a forward pass, and its input (n, ...), that returns columns.

    The net may hold more pictures than n; the first n count. `function` is the function, or where it is:
    "module:name" or "file.py:name".
    """

    keep: ClassVar[None] = None
    function: Callable[[Net, Floats], Columns] | str

    def options(self) -> dict[str, Any]:
        """Its name and text."""
        found = self.loaded()
        try:
            text = inspect.getsource(found)
        except (OSError, TypeError):
            text = ""
        return {"function": getattr(found, "__qualname__", repr(found)), "text": _digest(text)}

    def loaded(self) -> Callable[[Net, Floats], Columns]:
        """The function. Raises ArgumentError or MissingFileError where it is not there."""
        return _imported(self.function) if isinstance(self.function, str) else self.function

    def check(self, net: Net) -> None:
        """Raise ArgumentError where there is no such function."""
        if not callable(self.loaded()):
            raise ArgumentError(f"--function {self.function!r} is no function")

    def columns(self, net: Net, data: Floats) -> Columns:
        """What the function returns. Raises ArgumentError where these are no columns."""
        found = self.loaded()(net, data)
        if not isinstance(found, Mapping):
            raise ArgumentError(f"the function returned {type(found).__name__}; expected a dict of arrays by name")
        for name, values in found.items():
            if len(values) != len(data):
                raise ArgumentError(f"the function's {name!r} has {len(values)} rows for {len(data)} pictures")
        return {name: values if isinstance(values, list) else np.asarray(values) for name, values in found.items()}


_loaded: dict[str, Any] = {}


def _imported(place: str) -> Any:
    if place not in _loaded:
        where, _, name = place.rpartition(":")
        if not where:
            raise ArgumentError(f"--function {place!r}: give module:name or file.py:name")
        if where.endswith(".py"):
            if not Path(where).is_file():
                raise MissingFileError(f"--function {place!r}: there is no file {where}")
            spec = importlib.util.spec_from_file_location(Path(where).stem, where)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            try:
                module = importlib.import_module(where)
            except ImportError as error:
                raise ArgumentError(f"--function {place!r}: {error}") from error
        if not hasattr(module, name):
            raise ArgumentError(f"--function {place!r}: {where} has no {name!r}{nearest(name, dir(module))}")
        _loaded[place] = getattr(module, name)
    return _loaded[place]


def labels_of(path: str | None) -> tuple[str, ...] | None:
    """The labels in a file."""
    return None if path is None else tuple(read_labels(path))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _read(net: Net, name: str) -> Floats:
    blob = net.blob(name)
    values: Floats = blob.data_storage.read_host(blob.count).reshape(blob.shape)
    return values
