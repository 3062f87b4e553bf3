"""Operations: one name and one signature; the body here is NumPy's, and the definition.

@kernel("relu.cu", per="top_data")
def relu_forward(bottom_data: Floats, top_data: Floats, *, negative_slope: float) -> None: ...

positional      arrays and run-time numbers, as a device kernel of that name will take them
keyword-only    constants a device kernel is compiled for; a frozen dataclass stands for its fields
per="top_data"  one thread per element of top_data; `per=None` for an operation that a plan lays out
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec

import numpy as np

from caffepy.blob import Floats, Ints
from caffepy.errors import KernelError

P = ParamSpec("P")

ALL: dict[str, "Kernel[Any]"] = {}

_DTYPES: dict[Any, np.dtype[Any]] = {}
for _annotation, _dtype in ((Floats, np.float32), (Ints, np.int32)):
    _DTYPES[_annotation] = _DTYPES[_annotation | None] = np.dtype(_dtype)


class Kernel(Generic[P]):
    """An operation of a layer, called like its NumPy body; its arrays are checked first."""

    def __init__(self, twin: Callable[P, None], file: str, per: str | None):
        functools.update_wrapper(self, twin)
        self.twin, self.file, self.per = twin, file, per
        self.name = twin.__name__
        parameters = inspect.signature(twin).parameters.values()
        self.arguments = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.constants = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._dtypes = [_DTYPES.get(p.annotation) for p in parameters if p.kind is not p.KEYWORD_ONLY]
        if per is not None and per not in self.arguments:
            raise KernelError(f"{self.name}: per={per!r} is not one of its arguments {self.arguments}")
        if self.name in ALL:
            raise KernelError(f"operation {self.name!r} is declared twice")
        ALL[self.name] = self

    def __call__(self, *args: P.args, **constants: P.kwargs) -> None:
        for name, dtype, value in zip(self.arguments, self._dtypes, args, strict=False):
            if dtype is not None and value is not None:
                self._check(name, dtype, value)
        with np.errstate(all="ignore"):  # Caffe and CUDA say nothing of infinities either
            self.twin(*args, **constants)

    def _check(self, name: str, dtype: np.dtype[Any], value: Any) -> None:
        if not isinstance(value, np.ndarray):
            raise KernelError(f"{self.name}: {name} must be an array of {dtype}, got {type(value).__name__}")
        if value.dtype != dtype or not value.flags.c_contiguous:
            raise KernelError(
                f"{self.name}: {name} must be C-contiguous {dtype}, got {value.dtype} with strides {value.strides}"
            )


def kernel(file: str, *, per: str | None) -> Callable[[Callable[P, None]], Kernel[P]]:
    """Declare an operation by its NumPy body; its device body is the kernel of the same name in kernels/`file`."""
    return lambda twin: Kernel(twin, file, per)
