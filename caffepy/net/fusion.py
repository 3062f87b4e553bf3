"""Operations of a pass on a GPU, where what follows in place is done by the kernel before it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caffepy.kernels import Kernel, observed, observing
from caffepy.layers.activation.relu import relu_forward
from caffepy.layers.common.scale import scale_forward
from caffepy.layers.normalization.batch_norm import batch_norm_forward, batch_norm_global_stats
from caffepy.layers.vision.convolution import convolution_forward
from caffepy.layers.vision.convolution_normalized import convolution_normalized

_SCALE = "scale_data", "shift_data"


def fused(body: Callable[[], object]) -> None:
    """Run `body`; what follows an operation at once, in place on what it wrote, becomes a part of that operation.

    A ReLU, where the operation declares a constant `negative_slope`, 1 by default, and writes `top_data`; BatchNorm by
    global statistics and then Scale, where it is a convolution.
    """
    fusing = _Fusing()
    with observed(fusing):
        body()
    fusing.flush()


@dataclass(frozen=True)
class _Call:
    kernel: Kernel[Any]
    args: Sequence[Any]
    constants: Mapping[str, Any]

    def arg(self, name: str) -> Any:
        return self.args[self.kernel.arguments.index(name)]

    def having(self, **given: Any) -> "_Call":
        """The call with other arguments and constants."""
        args = [given.get(name, value) for name, value in zip(self.kernel.arguments, self.args, strict=True)]
        constants = {name: value for name, value in given.items() if name not in self.kernel.arguments}
        return _Call(self.kernel, args, {**self.constants, **constants})

    @property
    def may_go_on(self) -> bool:
        """Whether a further operation may become a part of it."""
        declares = "negative_slope" in self.kernel.constants and "top_data" in self.kernel.arguments
        return declares and self.kernel is not relu_forward and self.constants.get("negative_slope", 1) == 1


class _Fusing:
    def __init__(self) -> None:
        self._outer = observing()
        self._waiting: list[_Call] = []
        """An operation, and perhaps the statistics that BatchNorm behind it will use."""

    def __call__(self, kernel: Kernel[Any], args: Sequence[Any], constants: Mapping[str, Any]) -> bool:
        call = _Call(kernel, args, constants)
        joined = _joined(self._waiting, call) if self._waiting else None
        if joined is None:
            self.flush()
            joined = [call]
        self._waiting = joined
        if not self._waiting[0].may_go_on:
            self.flush()  # a copy that is no operation may follow a backward pass at once, and must find it done
        return False

    def flush(self) -> None:
        """Run what waits for the next operation."""
        waiting, self._waiting = self._waiting, []
        with observed(self._outer):
            for call in waiting:
                call.kernel(*call.args, **call.constants)


def _joined(waiting: list[_Call], call: _Call) -> list[_Call] | None:
    """What waits then, where the call becomes a part of it; None where it does not."""
    first = waiting[0]
    if len(waiting) == 2:
        return _normalized(first, waiting[1], call) if call.kernel is batch_norm_forward else None
    if call.kernel is batch_norm_global_stats and first.kernel is convolution_forward:
        return [first, call]
    if not _in_place(first, call):
        return None
    if call.kernel is relu_forward:
        return [first.having(negative_slope=call.constants["negative_slope"])]
    unscaled = first.kernel is convolution_normalized and not any(first.arg(name) is not None for name in _SCALE)
    if call.kernel is scale_forward and unscaled and _by_output(first, call):
        given = {name: call.arg(name) for name in ("scale_data", "kept")}
        return [first.having(**given, shift_data=call.arg("bias_data"))]
    return None


def _normalized(convolution: _Call, stats: _Call, norm: _Call) -> list[_Call] | None:
    """A convolution with the BatchNorm behind it."""
    same = all(_place(stats.arg(name)) == _place(norm.arg(name)) for name in ("mean", "variance"))
    alike = norm.arg("normalized") is None and _by_output(convolution, norm)
    if not (same and alike and _in_place(convolution, norm)):
        return None
    bottom, weight, bias, workspace, top = convolution.args
    args = bottom, weight, bias, *stats.args, None, None, None, workspace, top
    return [_Call(convolution_normalized, args, {**convolution.constants, "eps": norm.constants["eps"]})]


def _in_place(before: _Call, call: _Call) -> bool:
    """Whether the call changes what the one before it wrote, and nothing else."""
    written = _place(before.arg("top_data"))
    names = ("bottom_data", "top_data")
    return all(name in call.kernel.arguments and _place(call.arg(name)) == written for name in names)


def _by_output(convolution: _Call, call: _Call) -> bool:
    """Whether the call's channels are the convolution's outputs."""
    top, axes = convolution.arg("top_data").shape, len(convolution.constants["window"].kernel)
    found: tuple[int, int] = call.arg("channels"), call.arg("inner")
    return found == (top[-axes - 1], math.prod(top[-axes:]))


def _place(array: Any) -> tuple[int, int]:
    return array.data.ptr, array.size
