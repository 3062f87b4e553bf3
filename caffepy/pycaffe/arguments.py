"""The arguments of pycaffe's calls, checked."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, SupportsIndex

from caffepy.errors import ArgumentError
from caffepy.proto.caffe_pb2 import TEST, TRAIN

Path = str | bytes | PathLike[str]
_GONE = {
    "gpu": "since 2014 the mode is set by caffe.set_mode_gpu()",
    "mean_file": "since 2014 it is mean=numpy.load(mean_file)",
}
"""Arguments that Classifier and Detector had in the first pycaffe."""


def names_of(names: Sequence[str] | None) -> Sequence[str]:
    """A list of blobs' names; raises ArgumentError for a single one."""
    if isinstance(names, str):
        raise ArgumentError(f"give a list of blobs' names, such as [{names!r}], got {names!r}")
    return names or ()


def exactly(call: str, what: str, expected: Sequence[str], given: Mapping[str, Any]) -> str:
    """The advice where the keyword arguments are not the net's inputs or outputs."""
    return f"{call}: keyword arguments must be exactly the net's {what} {sorted(expected)}, got {sorted(given)}"


def constructor_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, Path | None, int, Iterable[str]]:
    """phase, weights, level and stages from either of pycaffe's argument orders."""
    names: tuple[str, ...] = ("phase", "level", "stages", "weights")
    order = ("weights", "phase") if args and not isinstance(args[0], SupportsIndex) else names
    given = dict(zip(order, args, strict=False))
    if len(args) > len(order) or set(given) & set(kwargs) or not set(kwargs) <= set(names):
        unknown = [f"{name}: {_GONE[name]}" for name in kwargs if name in _GONE]
        raise ArgumentError(
            "Net takes (model, phase, level=0, stages=None, weights=None) or (model, weights, phase), got "
            f"{len(args) + 1} positional argument(s) and {sorted(kwargs)}{''.join(f'; {each}' for each in unknown)}"
        )
    given |= kwargs
    if "phase" not in given:
        raise ArgumentError("Net: the phase is missing: caffe.Net(model, weights, caffe.TEST), or caffe.TRAIN")
    if given["phase"] not in (TRAIN, TEST):
        raise ArgumentError(f"Net: phase must be caffe.TRAIN (0) or caffe.TEST (1), got {given.get('phase')!r}")
    level, stages = given.get("level") or 0, given.get("stages") or ()
    if isinstance(stages, str) or not all(isinstance(stage, str) for stage in stages):
        raise ArgumentError(f"Net: stages must be a list of names, such as stages=['deploy'], got {stages!r}")
    if not isinstance(level, int):
        raise ArgumentError(f"Net: level must be a whole number, got {level!r}")
    return given["phase"], given.get("weights"), level, stages
