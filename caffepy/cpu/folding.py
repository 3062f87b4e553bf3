"""What is linear in each channel and follows a convolution in place: it becomes part of the weights and the bias."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.homes import Computed
from caffepy.cpu.record import Operation
from caffepy.device.onednn.handles import address

Step = Callable[[Floats, Floats], None]
"""Changes the factors and the shifts of the channels."""

_STATISTICS = "batch_norm_global_stats", "batch_norm_widen"
_SOURCES = {
    "batch_norm_forward": ("mean", "variance"),
    "scale_forward": ("scale_data", "bias_data"),
    "batch_norm_global_backward": ("variance",),
    "scale_backward": ("scale_data",),
}
_RESULTS = "top_data", "kept", "mask", "scale", "workspace"
"""What operations that can be done again write."""


@dataclass(frozen=True)
class Fold:
    """Operations in their order; in forward those before, `computed`, give what the last one keeps, if asked."""

    operations: tuple[Operation, ...]
    product: Operation | None = None

    @property
    def sources(self) -> list[Floats]:
        """The arrays that factors and shifts are made of."""
        found = [operation[name] for operation in self.operations for name in _SOURCES[operation.name]]
        return [array for array in found if array is not None]

    def bound(self, b: Builder) -> list[Step]:
        """What each operation does to the factors and shifts."""
        return [self._step(b, operation) for operation in self.operations]

    def _step(self, b: Builder, operation: Operation) -> Step:
        arrays = [operation[name] for name in _SOURCES[operation.name]]
        raw: list[Any] = [None if array is None else b.raw(array) for array in arrays]
        if operation.name == "batch_norm_forward":
            mean, variance = raw
            return functools.partial(_normalize, mean, variance, operation.constants["eps"])
        if operation.name == "batch_norm_global_backward":
            return functools.partial(_normalize, None, raw[0], operation.constants["eps"])
        return functools.partial(_scale, *raw, *[None] * (2 - len(raw)))

    def leave_out(self, b: Builder) -> None:
        """What a scale keeps of its bottom is computed when somebody asks for it."""
        for number, operation in enumerate(self.operations):
            if operation.name == "scale_forward" and operation["kept"] is not None and self.product is not None:
                before = (self.product, *self.operations[:number])
                b.compute(operation["kept"], Computed(again(b, before, "top_data")))


def again(b: Builder, operations: Sequence[Operation], result: str) -> Callable[[], Floats]:
    """Runs the operations' NumPy bodies on the host's values, beside what they wrote: what the last's `result` is."""
    plans = [(operation.body, operation.constants, _plan(b, operation)) for operation in operations]
    place = operations[-1].arguments.index(result)

    def compute() -> Floats:
        results: dict[int, Floats] = {}
        args: list[Any] = []
        for body, constants, plan in plans:
            args = []
            for value, read, written in plan:
                if read is None:
                    args.append(value)
                elif address(value) in results:
                    args.append(results[address(value)])
                else:
                    args.append(results.setdefault(address(value), read()) if written else read())
            body(*args, **constants)
        found: Floats = args[place]
        return found

    return compute


def _plan(b: Builder, operation: Operation) -> list[tuple[Any, Callable[[], Any] | None, bool]]:
    """For each argument its memory or value, what gives the array to use for it, and whether that is written.

    What is written is a new array: with a reader of its storage, which keeps what computes it, neither would ever go.
    """
    plan: list[tuple[Any, Callable[[], Any] | None, bool]] = []
    for name, value in zip(operation.arguments, operation.args, strict=True):
        if not isinstance(value, np.ndarray):
            plan.append((value, None, False))
        elif name in _RESULTS:
            raw = b.raw(value)
            plan.append((raw, functools.partial(np.empty_like, raw), True))
        else:
            plan.append((b.raw(value), b.reader(value), False))
    return plan


def following_affine(b: Builder, product: Operation) -> Fold | None:
    """What follows the product in place on its top and can be folded into it; it counts as done."""
    top, found, at = product["top_data"], [], b.at
    statistics: list[Operation] = []
    for operation in b.operations[b.at :]:
        at += 1
        if operation.name in _STATISTICS:
            statistics.append(operation)
            continue
        if operation.name not in ("batch_norm_forward", "scale_forward") or not _folds(b, operation, product):
            break
        for gathered in statistics:
            known_statistics(b, gathered)
        if not all(b.constant(array) for array in Fold((operation,)).sources):
            break
        statistics = []
        found.append(operation)
        b.at = at
    return Fold(tuple(found), product) if found and top is not None else None


def _folds(b: Builder, operation: Operation, product: Operation) -> bool:
    top = product["top_data"]
    if not all(address(operation[name]) == address(top) for name in ("bottom_data", "top_data")):
        return False
    if operation["channels"] != len(product["weight_data"]) or operation["bottom_data"].size != top.size:
        return False
    axes = product["weight_data"].ndim - 2
    if operation["inner"] != int(np.prod(top.shape[top.ndim - axes :])):
        return False
    if operation.name == "batch_norm_forward":
        return operation["normalized"] is None
    return operation["kept"] is None or not b.is_wanted(operation["kept"])


def known_statistics(b: Builder, operation: Operation) -> None:
    """Statistics gathered earlier are made ready once, and again when they change."""
    results = [operation[name] for name in ("mean", "variance") if name in operation.arguments]
    sources = [x for x in operation.args if isinstance(x, np.ndarray) and all(x is not r for r in results)]
    if not all(b.constant(array) for array in sources):
        raise DeclinedError
    b.prepare(sources, b.bare(operation), results)


def following_backward(b: Builder, operation: Operation) -> tuple[list[Operation], Operation] | None:
    """Scales of a diff, of which `operation` is the first, up to the convolution that they can be folded into."""
    diff = operation["top_diff"]
    if not b.private(diff):
        return None
    found: list[Operation] = []
    for number, following in enumerate((operation, *b.operations[b.at :])):
        if "top_diff" not in following.arguments or address(following["top_diff"]) != address(diff):
            return None
        if following.name == "convolution_backward":
            if following["weight_data"].shape[0] != operation["channels"] or not b.dead(diff, b.at + number):
                return None
            b.at += number
            return found, following
        if following.name not in ("scale_backward", "batch_norm_global_backward"):
            return None
        in_place = address(following["bottom_diff"]) == address(diff)
        if not in_place or not all(b.constant(array) for array in Fold((following,)).sources):
            return None
        found.append(following)
    return None


def _normalize(mean: Floats | None, variance: Floats, eps: float, factor: Floats, shift: Floats) -> None:
    inverse = 1 / np.sqrt(variance + np.float32(eps))
    factor *= inverse
    if mean is not None:
        shift -= mean
    shift *= inverse


def _scale(scale: Floats | None, bias: Floats | None, factor: Floats, shift: Floats) -> None:
    if scale is not None:
        factor *= scale.reshape(-1)
        shift *= scale.reshape(-1)
    if bias is not None:
        shift += bias.reshape(-1)
