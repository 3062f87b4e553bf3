"""The names of a net's classes: read from a file, and a class found by its name."""

import re
from collections.abc import Sequence
from os import PathLike

from caffepy.data.files import read_file
from caffepy.errors import ArgumentError, nearest

_WORDNET_ID = re.compile(r"n\d{8}\s+")
_SHOWN = 8


def read_labels(path: str | PathLike[str], classes: int | None = None) -> list[str]:
    """The file's lines, without ImageNet's `n01440764 ` in front; one for each of the `classes`, where that is given.

    Raises MissingFileError or ArgumentError.
    """
    try:
        text = read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"labels {str(path)!r} are no UTF-8 text ({error}); give one label a line") from error
    labels = [_WORDNET_ID.sub("", line.strip(), count=1) for line in text.splitlines() if line.strip()]
    if classes is not None and len(labels) != classes:
        raise ArgumentError(
            f"labels {str(path)!r} has {len(labels)} lines, the net {classes} classes; give one line for each class"
        )
    return labels


def find_class(name: str, labels: Sequence[str]) -> int:
    """The index of the label `name`: the whole label, else one of its comma-separated words, else a part of it.

    Case is ignored. Raises ArgumentError where no label matches, naming the nearest, or several do.
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
    words = {word.casefold() for label in labels for word in [label, *re.split(r"\s*,\s*", label)]}
    near = nearest(wanted, words) or f", such as {labels[0]!r}"
    raise ArgumentError(f"no label matches {name!r}; give a class index or a part of a label{near}")


def _listed(found: Sequence[int], labels: Sequence[str]) -> str:
    shown = ", ".join(f"{i} {labels[i]!r}" for i in found[:_SHOWN])
    return shown + (", ..." if len(found) > _SHOWN else "")
