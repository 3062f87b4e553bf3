"""Operations of a pass on a GPU, where an activation in place is done by the kernel before it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from caffepy.kernels import Kernel, observed, observing
from caffepy.layers.activation.relu import relu_forward


def fused(body: Callable[[], object]) -> None:
    """Run `body`; a ReLU in place on what the operation just before it wrote becomes a part of that operation.

    Operations that can do so declare a constant `negative_slope`, 1 by default, and write `top_data`.
    """
    fusing = _Fusing()
    with observed(fusing):
        body()
    fusing.flush()


class _Fusing:
    def __init__(self) -> None:
        self._outer = observing()
        self._waiting: tuple[Kernel[Any], Sequence[Any], Mapping[str, Any]] | None = None

    def __call__(self, kernel: Kernel[Any], args: Sequence[Any], constants: Mapping[str, Any]) -> bool:
        if kernel is relu_forward and self._is_waiting_for(*args):
            assert self._waiting is not None
            before, its_args, its_constants = self._waiting
            self._waiting = before, its_args, {**its_constants, "negative_slope": constants["negative_slope"]}
            self.flush()
        else:
            self.flush()
            self._waiting = kernel, args, constants
            if kernel is relu_forward or "negative_slope" not in kernel.constants or "top_data" not in kernel.arguments:
                self.flush()  # a copy that is no operation may follow a backward pass at once, and must find it done
        return False

    def flush(self) -> None:
        """Run what waits for the next operation."""
        if self._waiting is not None:
            (kernel, args, constants), self._waiting = self._waiting, None
            with observed(self._outer):
                kernel(*args, **constants)

    def _is_waiting_for(self, bottom_data: Any, top_data: Any) -> bool:
        if self._waiting is None:
            return False
        kernel, args, _ = self._waiting
        written = args[kernel.arguments.index("top_data")]
        return all(_place(array) == _place(written) for array in (bottom_data, top_data))


def _place(array: Any) -> tuple[int, int]:
    return array.data.ptr, array.size
