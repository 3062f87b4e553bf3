"""The gradient of images as a convolution with turned windows, which what follows it at each place can join."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder
from caffepy.cpu.folded_weights import Turned, folded
from caffepy.cpu.folding import Fold
from caffepy.cpu.geometry import Geometry
from caffepy.cpu.masks import has_mask, mask
from caffepy.cpu.record import Operation
from caffepy.device.onednn.handles import Layout, Memory, Primitive, address
from caffepy.errors import DeviceError


@dataclass(frozen=True)
class Chain:
    """What follows a gradient of images: diffs that are added to it, then perhaps a ReLU's derivative."""

    added: tuple[Floats, ...]
    data: Floats | None
    """What went into the ReLU, or came out of it."""
    result: Floats
    operations: int
    """How many of them there are."""


def joined(b: Builder, operation: Operation, factors: Sequence[Operation], geometry: Geometry) -> bool:
    """Add the gradient together with what follows it, which counts as done; False where that cannot be."""
    weight, turned, chain = operation["weight_data"], geometry.turned(), _following(b, operation["bottom_diff"])
    if turned is None or chain is None:
        return False
    if (found := _primitive(b, turned, chain)) is None:
        return False
    primitive, layouts = found
    source, weights, target = layouts
    b.at += chain.operations
    turn = functools.partial(_turn, shape=geometry.weights, axes=len(geometry.source) - 2)
    if factors:
        memory, _ = folded(b, weight, None, weights, Fold(tuple(factors)), turn)
    else:
        memory = b.derived(weight, ("turned", weights.key), lambda: Turned(weights, turn)).memory
    memories: dict[int, Memory | None] = {a.SRC: b.read(operation["top_diff"], source), a.WEIGHTS: memory}
    operands = [b.read(diff, target) for diff in chain.added]
    if chain.data is not None:
        operands.append(mask(b, chain.data, target))
    memories |= dict(zip(a.OPERANDS, operands, strict=False))
    b.add(primitive, {**memories, a.DST: b.write(chain.result, target)})
    return True


def _following(b: Builder, diff: Floats) -> Chain | None:
    """Sums with other diffs and a ReLU's derivative, as long as nobody sees what is between."""
    added: list[Floats] = []
    data, result, at = None, diff, b.at
    for operation in b.operations[b.at :]:
        if data is not None or not b.private(result):
            break
        other = None
        if operation.name == "split_backward":
            other = _other(operation, result)
            if other is None or not b.private(other):
                break
        elif not _is_derivative(operation, result):
            break
        total = operation["bottom_diff"]
        if not b.private(total) or (address(total) != address(result) and not b.dead(result, at + 1)):
            break
        if other is None:
            data = operation["bottom_data"]
        else:
            added.append(other)
        result, at = total, at + 1
    if at == b.at or any(address(other) == address(result) for other in added):
        return None
    return Chain(tuple(added), data, result, at - b.at)


def _is_derivative(operation: Operation, diff: Floats) -> bool:
    """Whether it is that of a ReLU, by which the diff is kept or becomes zero."""
    if operation.name != "relu_backward" or operation.constants["negative_slope"] != 0:
        return False
    return address(operation["top_diff"]) == address(diff)


def _other(split: Operation, diff: Floats) -> Floats | None:
    """What is added to that diff."""
    first: Floats = split["first_diff"]
    second: Floats = split["second_diff"]
    if address(first) == address(second):
        return None
    return second if address(first) == address(diff) else first if address(second) == address(diff) else None


def _primitive(b: Builder, turned: Geometry, chain: Chain) -> tuple[Primitive, tuple[Layout, Layout, Layout]] | None:
    """The convolution with what joins it, and the layouts of its images, weights and result."""
    if len(chain.added) >= len(a.OPERANDS):
        return None
    try:
        form = turned.forward(None).layout(a.ASK_DST)
        if form is None or not (chain.data is None or has_mask(b, chain.data, form)):
            return None
        steps = [(a.ADD, form)] * len(chain.added)
        if chain.data is not None:
            steps.append((a.MULTIPLY, form.bytes()))
        primitive = turned.forward(None, binary=steps)
    except DeviceError:
        return None
    source, weights, target = (primitive.layout(query) for query in (a.ASK_SRC, a.ASK_WEIGHTS, a.ASK_DST))
    if source is None or weights is None or target is None or target.key != form.key:
        return None
    return None if primitive.implementation.startswith("ref") else (primitive, (source, weights, target))


def _turn(weight: Floats, shape: tuple[int, ...], axes: int) -> Floats:
    """Windows from behind, outputs and inputs exchanged."""
    windows = np.swapaxes(weight[: np.prod(shape)].reshape(shape), -axes - 2, -axes - 1)
    return np.flip(windows, tuple(range(-axes, 0)))
