"""What a net says of an image in words: class values, labels, and finding a class by its name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import ArgumentError, MissingFileError

_WORDNET_ID = re.compile(r"n\d{8}\s+")
_SHOWN = 8


@dataclass(frozen=True)
class Classes:
    """The value of each class for one image, (C,), and the classes' names."""

    values: Floats
    labels: Sequence[str] | None = None

    def name(self, index: int) -> str:
        """The label, or the number."""
        return self.labels[index] if self.labels else f"class {index}"

    def numbered(self, index: int) -> str:
        """The number, and the label if there is one."""
        return f"{index} {self.labels[index]}" if self.labels else f"{index}"

    def top(self, count: int) -> list[int]:
        """The indices of the highest values, highest first."""
        return [int(i) for i in np.argsort(-self.values, kind="stable")[:count]]

    def entry(self, index: int) -> dict[str, Any]:
        """index, label (None without labels) and value: for JSON."""
        label = self.labels[index] if self.labels else None
        return {"index": index, "label": label, "value": float(self.values[index])}


def read_labels(path: str | PathLike[str], classes: int) -> list[str]:
    """The file's lines, without ImageNet's `n01440764 ` in front; there must be one for each class."""
    try:
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise MissingFileError(f"cannot read labels {str(path)!r}: {error.strerror}; give a text file") from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"labels {str(path)!r} are no UTF-8 text ({error}); give one label a line") from error
    labels = [_WORDNET_ID.sub("", line.strip(), count=1) for line in text.splitlines() if line.strip()]
    if len(labels) != classes:
        raise ArgumentError(
            f"labels {str(path)!r} has {len(labels)} lines, the net {classes} classes; give one line for each class"
        )
    return labels


def find_target(target: str, labels: Sequence[str] | None) -> int | Literal["top"]:
    """The class that a --target means: a number, a label or `top`."""
    if target == "top":
        return "top"
    try:
        return int(target)
    except ValueError:
        if labels is None:
            raise ArgumentError(
                f"target {target!r} is no class index; to choose a class by its name give the names with --labels FILE"
            ) from None
        return find_class(target, labels)


def find_class(name: str, labels: Sequence[str]) -> int:
    """The index of the label `name`: the whole label, else one of its comma-separated words, else a part of it.

    Case is ignored. Raises ArgumentError where no label matches, or several do.
    """
    wanted = name.casefold().strip()
    rules = (
        lambda label: label == wanted,
        lambda label: wanted in re.split(r"\s*,\s*", label),
        lambda label: wanted in label,
    )
    for rule in rules:
        found = [i for i, label in enumerate(labels) if rule(label.casefold())]
        if len(found) > 1:
            raise ArgumentError(f"{len(found)} labels match {name!r}: {_listed(found, labels)}; give the index of one")
        if found:
            return found[0]
    raise ArgumentError(f"no label matches {name!r}; give a class index or a part of a label, such as {labels[0]!r}")


def _listed(found: Sequence[int], labels: Sequence[str]) -> str:
    shown = ", ".join(f"{i} {labels[i]!r}" for i in found[:_SHOWN])
    return shown + (", ..." if len(found) > _SHOWN else "")
