"""A net's inputs: the one that takes pictures, and others, whose values are the same for every picture."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from caffepy.errors import ArgumentError, UnknownBlobError, nearest
from caffepy.net import Net

Fixed = tuple[tuple[str, tuple[float, ...]], ...]
"""By name the values of an input's item, one after the other."""


def fixed_values(given: Mapping[str, ArrayLike]) -> Fixed:
    """The values as plain numbers. Raises ArgumentError for what is none."""
    found = []
    for name, values in sorted(given.items()):
        try:
            numbers = np.asarray(values, np.float32).reshape(-1)
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"input {name!r}: {values!r} are no numbers ({error})") from error
        found.append((name, tuple(float(number) for number in numbers)))
    return tuple(found)


def of_words(words: Iterable[str]) -> dict[str, list[float]]:
    """What a command line says: NAME=NUMBER,NUMBER,... Raises ArgumentError for anything else."""
    found = {}
    for word in words:
        name, _, numbers = word.partition("=")
        try:
            found[name] = [float(number) for number in numbers.split(",")]
        except ValueError as error:
            raise ArgumentError(f"--input {word!r}: give NAME=NUMBER,NUMBER,... such as im_info=600,800,1") from error
    return found


def of_pictures(net: Net, fixed: Fixed) -> str:
    """The input that takes pictures: the only one that has no values.

    Raises UnknownBlobError for values of what is no input, ArgumentError unless one is left.
    """
    names = [name for name, _ in fixed]
    for name in names:
        if name not in net.inputs:
            there = ", ".join(net.inputs) or "none"
            raise UnknownBlobError(f"the net has no input {name!r}{nearest(name, net.inputs)}; its inputs are {there}")
    left = [name for name in net.inputs if name not in names]
    if len(left) == 1:
        return left[0]
    said = f"the net's inputs {'without values ' if names else ''}are {', '.join(left) or 'none'}; expected one"
    if not net.inputs:
        raise ArgumentError(f"{said}, for pictures: give a deploy.prototxt, whose Input layer is it")
    raise ArgumentError(
        f"{said}, for pictures: give the others' values, which are the same for all pictures: inputs={{NAME: VALUES}} "
        f"in Python, --input NAME=NUMBER,NUMBER,... on the command line, such as --input im_info=600,800,1"
    )


def fill(net: Net, fixed: Fixed, pictures: str, batch: int) -> None:
    """Shape the other inputs for so many pictures, where their first axis counts those, and write their values.

    Raises ArgumentError for another number of values than 1 or an item's.
    """
    before = net.blob(pictures).shape[0]
    for name, values in fixed:
        blob = net.blob(name)
        counts = blob.shape[:1] == (before,)
        item = blob.shape[1:] if counts else blob.shape
        if len(values) not in (1, count := math.prod(item)):
            raise ArgumentError(f"input {name!r} takes 1 value or {count}, of shape {item}; got {len(values)}")
        if counts:
            blob.reshape(batch, *item)
        blob.data[...] = values[0] if len(values) == 1 else np.reshape(values, item)
