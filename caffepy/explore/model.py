"""What is explored: a net, and the Python lines that open it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from caffepy import TEST, Net, zoo
from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.explore.diagram import Step, steps_of
from caffepy.explore.looks import are_pictures, picture_input
from caffepy.limits import COMPUTES, Limits
from caffepy.saliency import METHODS, Preprocess, class_values, read_labels
from caffepy.saliency.preprocess import preprocess_of

_TOP = 5


@dataclass(eq=False)
class Model:
    """A net with what a page says of it. Raises what Net raises, and ArgumentError for labels that do not fit."""

    net: Net
    name: str
    opening: tuple[str, ...]
    """Python lines that make `net`."""
    samples: tuple[Path, ...] = ()
    steps: list[Step] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = steps_of(self.net.table())

    @property
    def output(self) -> str | None:
        """The blob that says the classes: the last of the outputs, where there are several."""
        return self.net.outputs[-1] if self.net.outputs else None

    def classes(self) -> list[dict[str, Any]]:
        """The best classes of the picture that the net has seen last."""
        values: Floats = class_values(self.net, self.output)[0]
        best = np.argsort(-values, kind="stable")[:_TOP]
        return [{"index": int(i), "label": self._label(int(i)), "value": float(values[i])} for i in best]

    def described(self) -> dict[str, Any]:
        """What the page has to know, as plain data."""
        net, table = self.net, self.net.table()
        why = None
        try:
            shape = net.blob(picture_input(net)).shape
        except ArgumentError as error:
            why, shape = str(error), ()
        preprocess = net.preprocess
        return {
            "name": self.name,
            "totals": table.totals,
            "layers": len(table.rows),
            "input": preprocess.describe(shape[1:]) if isinstance(preprocess, Preprocess) and shape else None,
            "why_no_pictures": why,
            "labels": list(net.labels or ()),
            "samples": len(self.samples),
            "methods": list(METHODS),
            "blocks": sorted({step.block for step in self.steps if step.block}),
        }

    def layer(self, name: str) -> dict[str, Any]:
        """A step's layers, by the name of its first, as plain data; raises ArgumentError."""
        step = next((step for step in self.steps if step.first.name == name), None)
        if step is None:
            raise ArgumentError(f"the net has no layer {name!r}")
        layers = dict(zip(self.net.layer_names, self.net.execution.layers, strict=True))
        weights = layers[name].blobs
        return {
            "name": name,
            "block": step.block,
            "layers": [
                {
                    "name": row.name,
                    "type": row.type,
                    "parameters": row.parameters,
                    "weights": [list(blob.shape) for blob in layers[row.name].blobs],
                    "macs": row.macs,
                    "field": [axis.size for axis in row.field] if row.field else None,
                    "prototxt": str(layers[row.name].param).strip(),
                }
                for row in step.layers
            ],
            "tops": [{"name": top, "shape": list(shape)} for top, shape in step.first.tops.items()],
            "bottoms": step.first.bottoms,
            "filters": bool(weights) and are_pictures(weights[0].shape),
        }

    def target(self, text: str) -> Any:
        """What a target in a request means: top, an index, or a class by its name."""
        return text if text == "top" or not text.lstrip("-").isdigit() else int(text)

    def _label(self, index: int) -> str | None:
        labels = self.net.labels
        return labels[index] if labels and index < len(labels) else None


def opened(
    model: str | PathLike[str],
    weights: str | PathLike[str] | None = None,
    *,
    labels: str | PathLike[str] | None = None,
    mean: str | None = None,
    scale: float = 255.0,
    limits: Limits = COMPUTES,
    names: Sequence[str] = (),
) -> Model:
    """A net from files, for one picture at a time.

    names   what the files are called in the Python lines, where they are copies: of those of model, weights and labels
            that are given
    """
    net = Net(model, TEST, weights=weights, limits=limits)
    called = list(names) or [fspath(path) for path in (model, weights, labels) if path]
    lines = ["import caffepy", "from caffepy import saliency", "from caffepy.explore import looks", ""]
    lines.append(f"net = caffepy.Net({called[0]!r}, caffepy.TEST" + (f", weights={called[1]!r})" if weights else ")"))
    if net.inputs and net.blob(net.inputs[0]).shape[1:2] in ((1,), (3,)) and len(net.blob(net.inputs[0]).shape) == 4:
        blob = net.blob(net.inputs[0])
        blob.reshape(1, *blob.shape[1:])
        net.reshape()
        net.preprocess = preprocess_of(blob.shape, mean, scale)
        lines.append(f"net.preprocess = {_written(net.preprocess)}")
    if labels is not None:
        net.labels = read_labels(labels)
        lines.append(f"net.labels = saliency.read_labels({called[-1]!r})")
    return Model(net, net.param.name or Path(called[0]).stem, tuple(lines))


def embedded() -> Model:
    """The model that comes with the package."""
    found = zoo.fashion_mnist()
    net = found.net()
    net.labels, net.preprocess = found.labels, Preprocess(scale=1.0)
    lines = (
        "from caffepy import saliency, zoo",
        "from caffepy.explore import looks",
        "",
        "model = zoo.fashion_mnist()",
        "net = model.net()",
        "net.labels, net.preprocess = model.labels, saliency.Preprocess(scale=1.0)",
    )
    return Model(
        net, "Fashion-MNIST, the model that comes with caffepy", lines, tuple(s.picture for s in found.samples)
    )


def _written(preprocess: Preprocess) -> str:
    if preprocess.mean is None:
        return f"saliency.Preprocess(scale={preprocess.scale!r})"
    mean = np.asarray(preprocess.mean, np.float32)
    mean = mean if mean.ndim == 1 else mean.mean(axis=(1, 2))
    return f"saliency.Preprocess(scale={preprocess.scale!r}, mean={tuple(float(value) for value in mean)!r})"
