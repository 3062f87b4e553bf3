"""The declaration of operations, and rules that every declared operation keeps."""

import dataclasses
import inspect
from collections.abc import Iterator

import numpy as np
import pytest

import caffepy.layers  # noqa: F401  (declares the operations)
from caffepy import kernels
from caffepy.blob import Floats, Ints, Weights
from caffepy.errors import KernelError
from caffepy.kernels import Kernel, kernel
from caffepy.solver.rules import Blobs


@pytest.fixture
def scale() -> Iterator[Kernel]:
    @kernel("test.cu", per="top_data")
    def scale_test(bottom_data: Floats, index: Ints | None, count: int, top_data: Floats, *, factor: float) -> None:
        np.multiply(bottom_data, factor, out=top_data)

    yield scale_test
    del kernels.ALL["scale_test"]


def test_an_operation_runs_its_body(scale: Kernel) -> None:
    bottom, top = np.ones(3, np.float32), np.zeros(3, np.float32)
    scale(bottom, None, 3, top, factor=2.0)
    assert (top == 2).all()
    assert (scale.arguments, scale.constants) == (["bottom_data", "index", "count", "top_data"], ["factor"])


def test_nothing_runs_for_an_empty_array_that_it_is_laid_out_per(scale: Kernel) -> None:
    """As on a GPU, where there is nothing to launch."""
    bottom, top = np.ones(3, np.float32), np.zeros((2, 0), np.float32)
    scale(bottom, None, 3, top, factor=2.0)  # its body would raise: shapes (3,) and (2, 0)


@pytest.mark.parametrize(
    ("bottom", "index", "message"),
    [
        (np.ones(3), None, "scale_test: bottom_data must be C-contiguous float32, got float64"),
        (np.ones((2, 2), np.float32).T, None, "bottom_data must be C-contiguous float32, got float32 with strides"),
        (np.ones(3, np.float32), np.ones(3, np.int64), "index must be C-contiguous int32, got int64"),
        ([1.0], None, "bottom_data must be an array of float32 on the cpu device, got list"),
    ],
)
def test_arrays_are_checked(scale: Kernel, bottom, index, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        scale(bottom, index, 3, np.zeros(3, np.float32), factor=2.0)


def test_a_name_is_declared_once(scale: Kernel) -> None:
    with pytest.raises(KernelError, match="'scale_test' is declared twice"):
        kernel("other.cu", per=None)(scale.twin)


def test_per_names_an_argument() -> None:
    def twin(top_data: Floats) -> None: ...

    with pytest.raises(KernelError, match="'bottom_data' is not one of its arguments"):
        kernel("test.cu", per="bottom_data")(twin)


@pytest.mark.parametrize("name", sorted(kernels.ALL))
def test_every_operation_can_have_a_device_body(name: str) -> None:
    """Arrays and numbers by position, constants by keyword, nothing optional; and the blobs of update rules."""
    operation = kernels.ALL[name]
    assert operation.file.endswith(".cu")
    assert operation.twin.__doc__
    for parameter in inspect.signature(operation.twin).parameters.values():
        assert parameter.default is parameter.empty or parameter.kind is parameter.KEYWORD_ONLY, parameter
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.annotation in (int, float, bool) or dataclasses.is_dataclass(parameter.annotation), (
                parameter
            )
        else:
            assert parameter.annotation in (Floats, Floats | None, Weights, Ints, Ints | None, int, float, Blobs), (
                parameter
            )
