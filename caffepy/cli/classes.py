"""What a net says of an image in words: class values, and the class that a --target means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.saliency.labels import find_class


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
