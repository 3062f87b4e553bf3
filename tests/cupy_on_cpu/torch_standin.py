"""A stand-in for PyTorch on a GPU, for caffepy.interop.torch: tensors over CuPy's memory, on a stream of their own.

It does what PyTorch does at the borders: DLPack has the consumer's stream wait for the producer's, and torch.cuda says
which stream is its current one.
"""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest


class Tensor:
    """An array on a GPU; what is done to it is done on PyTorch's stream."""

    dtype, requires_grad = "float32", True
    device = "cuda:0"
    is_cuda = True

    def __init__(self, array: Any, stream: Any) -> None:
        self.array, self.stream = array, stream

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def to(self, dtype: Any) -> "Tensor":
        return self

    detach = contiguous = lambda self: self

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, *, stream: Any = None, **given: Any) -> Any:
        import cupy

        if stream not in (None, -1):
            later = types.SimpleNamespace(__cuda_stream__=lambda: (0, {1: 0}.get(stream, stream)))
            cupy.cuda.Stream.from_external(later).wait_event(self.stream.record())
        with self.stream:
            return self.array.__dlpack__(stream=-1, **given)

    def copy_(self, host: np.ndarray) -> "Tensor":
        """What the host's array holds now."""
        import cupy

        with self.stream:
            cupy.copyto(self.array, cupy.array(host))
        return self

    def copied(self) -> "Tensor":
        """A tensor with what this one holds."""
        import cupy

        with self.stream:
            copy = cupy.zeros(self.array.shape, np.float32)
            cupy.copyto(copy, self.array)
        return Tensor(copy, self.stream)

    def spoil(self) -> None:
        """Write over it."""
        with self.stream:
            self.array.fill(np.nan)

    def numpy(self) -> np.ndarray:
        with self.stream:
            found: np.ndarray = self.array.get()
        return found


class _Capsule:
    """What a producer has given away."""

    def __init__(self, made: Any, device: Any) -> None:
        self._made, self._device = made, device

    def __dlpack__(self, **given: Any) -> Any:
        return self._made

    def __dlpack_device__(self) -> Any:
        return self._device


class Context:
    """Of one pass of a Function."""

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors, self.needs_input_grad = tensors, (False, False, *(True for _ in tensors))

    def set_materialize_grads(self, value: bool) -> None: ...


class Function:
    """torch.autograd.Function, whose last pass the test runs backward by hand."""

    last: Context

    @classmethod
    def apply(cls, *args: Any) -> Any:
        Function.last = Context()
        return cls.forward(Function.last, *args)  # type: ignore[attr-defined]


class Module:
    """torch.nn.Module"""

    def __call__(self, *inputs: Any) -> Any:
        return self.forward(*inputs)  # type: ignore[attr-defined]


@contextmanager
def torch(patch: pytest.MonkeyPatch) -> Iterator[Any]:
    """caffepy.interop.torch over the stand-in; `.stream` is PyTorch's current one, `.tensor(shape)` a new tensor."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)

    def from_dlpack(array: Any) -> Tensor:
        given = _Capsule(array.__dlpack__(stream=stream.ptr), array.__dlpack_device__())
        with stream:
            return Tensor(cupy.from_dlpack(given), stream)

    def tensor(*shape: int) -> Tensor:
        with stream:
            return Tensor(cupy.zeros(shape, np.float32), stream)

    module: Any = types.ModuleType("torch")
    module.nn = types.SimpleNamespace(Module=Module)
    module.autograd = types.SimpleNamespace(
        Function=Function, function=types.SimpleNamespace(once_differentiable=lambda body: body)
    )
    module.Tensor, module.float32, module.from_dlpack = Tensor, "float32", from_dlpack
    current = types.SimpleNamespace(cuda_stream=stream.ptr)
    module.cuda = types.SimpleNamespace(is_initialized=lambda: True, current_stream=lambda index: current)
    module.stream, module.tensor = stream, tensor
    patch.setitem(sys.modules, "torch", module)
    patch.delitem(sys.modules, "caffepy.interop.torch", raising=False)
    try:
        yield module
    finally:
        patch.undo()
        sys.modules.pop("caffepy.interop.torch", None)
