"""Products of numbers of 16 bits: factors rounded to fp16 or bf16, the rest as exact as single precision is;
streams of few vectors round the weights alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from caffepy import device
from caffepy.blob.halves import rounded, widened
from caffepy.device import source
from caffepy.errors import DeviceError
from caffepy.kernels import precision
from caffepy.layers.basis import gemm_plan
from tests.cuda_on_cpu import EmulatedCuda, unavailable
from tests.gpu_mode import running
from tests.kernels_on_cpu.basis import test_tf32 as tf32
from tests.kernels_on_cpu.basis.test_tf32 import CONVOLUTIONS, always, asked_for

FORMATS = "fp16", "bf16"
MANTISSA = {"fp16": 10, "bf16": 7}
TILES = [tile for tile in tf32.TENSOR_TILES if tile.tile_k % 16 == 0]


def nearest(number_format: str) -> Callable[[np.ndarray], np.ndarray]:
    """To the nearest number of so many bits of mantissa, in a draw to the even one; in float64, from the definition."""

    def of(x: np.ndarray) -> np.ndarray:
        mantissa, exponent = np.frexp(x.astype(np.float64))
        step = 2.0 ** -(MANTISSA[number_format] + 1)
        return np.ldexp(np.rint(mantissa / step) * step, exponent)

    return of


def narrowed(tile: gemm_plan.Tile, number_format: str) -> gemm_plan.Tile:
    return replace(tile, tf32=0, narrow=gemm_plan.FORMATS[number_format])


@pytest.fixture(params=FORMATS)
def number_format(request: pytest.FixtureRequest) -> Iterator[str]:
    with asked_for(request.param):
        yield request.param


def test_rounding(number_format: str) -> None:
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32) * np.float32(50)
    step = np.float32(2.0 ** -MANTISSA[number_format])
    x[:6] = [1 + step / 2, 1 + step * 3 / 2, -1 - step / 2, 0, -0.0, 65504]
    expected = nearest(number_format)(x)
    assert expected[0] == 1
    assert expected[1] == 1 + 2 * step
    np.testing.assert_array_equal(widened(rounded(x, number_format), number_format), expected)
    special = np.float32([np.inf, -np.inf, np.nan, 3.4e38, 1e-45])
    back = widened(rounded(special, number_format), number_format)
    np.testing.assert_array_equal(back, [np.inf, -np.inf, np.nan, np.inf, 0])


class Halved:
    """A case of test_tf32 whose weights lie in memory in 16 bits where they are read."""

    def __init__(self, case: "tf32.Convolution | tf32.InnerProduct", number_format: str, monkeypatch) -> None:
        self.case, self.terms = case, case.terms
        monkeypatch.setattr(tf32, "uploaded", self._uploaded)
        self.number_format = number_format
        self._upload = uploaded

    def _uploaded(self, host: np.ndarray) -> object:
        is_weight = host.shape == self.case.weight.shape or host.shape == self.case.weight.shape[::-1]
        return self._upload(rounded(host, self.number_format) if is_weight and host.any() else host)

    def results(self) -> list[np.ndarray]:
        return self.case.results()


uploaded = tf32.uploaded


def check(case, number_format, monkeypatch, *, vectors=True):
    """Against sums in float64 of rounded factors, of which a stream leaves vectors as they are."""
    results = Halved(case, number_format, monkeypatch).results()
    of = nearest(number_format)
    sizes = case.references(lambda x: np.abs(x.astype(np.float64)))
    if vectors:
        exact = case.references(of)
    else:
        weight, case.weight = case.weight, of(case.weight)
        exact, case.weight = case.references(np.float64), weight
    others = case.references(np.float64)
    for result, to, other, size, terms in zip(results, exact, others, sizes, case.terms, strict=True):
        error = np.abs(result - to)
        assert (error <= (terms + 2) * 2.0**-23 * size).all()
        if vectors or result is not results[2]:
            assert np.abs(result - other).max() > 30 * error.max()  # it is these factors


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_every_tile(gpu, tile, number_format, monkeypatch):
    monkeypatch.setattr(gemm_plan, "choose", always(narrowed(tile, number_format)))
    check(tf32.Convolution("3x3, groups"), number_format, monkeypatch)


@pytest.mark.parametrize("case", [*CONVOLUTIONS, False, True])
def test_every_operand(case, number_format, monkeypatch):
    monkeypatch.setattr(gemm_plan, "choose", always(narrowed(gemm_plan.TENSOR_MIDDLE, number_format)))
    with running("gpu-random"):
        made = tf32.Convolution(case) if isinstance(case, str) else tf32.InnerProduct(transpose=case)
        check(made, number_format, monkeypatch)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("inputs", [70, 72])
def test_streams_of_few_vectors(transpose, inputs, number_format, monkeypatch):
    with running("gpu-random"):
        case = tf32.InnerProduct(transpose, num=3, inputs=inputs)
        check(case, number_format, monkeypatch, vectors=False)


def test_tiles_that_tensor_cores_do_not_multiply_read_rounded_weights(number_format, monkeypatch):
    monkeypatch.setattr(gemm_plan, "choose", always(gemm_plan.MIDDLE))
    with running("gpu-random"):
        for case in (tf32.Convolution("1x1, rows in fours"), tf32.InnerProduct(transpose=True)):
            check(case, number_format, monkeypatch, vectors=False)


PLANTED = {
    "terms of a pair in the other order": ("two(from[v], from[v + 1])", "two(from[v + 1], from[v])"),
    "of lines that lie side by side": ("two(from[1], next[1])", "two(next[1], from[1])"),
    "both terms in one place": ("[k(round) % 2] =", "[0] ="),
    "the same terms in both halves": ("left.term(k + 4 * half) + t", "left.term(k) + t"),
    "sums of a fragment in the other order": ("sums.of[i][odd] = d[1], sums", "sums.of[i][odd] = d[2], sums"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_layout_is_seen(name, monkeypatch):
    right, wrong = PLANTED[name]
    if reason := unavailable():
        pytest.skip(reason)
    text = source.text
    assert text("convolution_forward.cu").count(right) == 1
    monkeypatch.setattr(source, "text", lambda file: text(file).replace(right, wrong))
    monkeypatch.setattr(gemm_plan, "choose", always(narrowed(gemm_plan.TENSOR_MIDDLE, "fp16")))
    device.use(EmulatedCuda())
    device.set_mode_gpu()
    try:
        with asked_for("fp16"), pytest.raises(AssertionError):
            _check_all(["1x1, rows in fours", "3x3, groups"], monkeypatch)
    finally:
        device.use(None)


def _check_all(cases, monkeypatch):
    for case in cases:
        check(tf32.Convolution(case), "fp16", monkeypatch)


def test_what_is_not_finite(number_format, monkeypatch):
    """NaN stays NaN; in fp16 what is beyond 65504 is infinite."""
    monkeypatch.setattr(gemm_plan, "choose", always(narrowed(gemm_plan.TENSOR_MIDDLE, number_format)))
    with running("gpu-ascending"):
        case = tf32.InnerProduct(transpose=False)
        case.bottom[1, 2], case.bottom[3, 4], case.bottom[5, 6] = 70000, np.nan, np.inf
        top = case.results()[0]
    overflown = number_format == "fp16"
    assert np.isinf(top[1]).all() == overflown
    assert np.isnan(top[3]).all()
    assert np.isinf(top[5]).all()
    assert np.isfinite(np.delete(top, [1, 3, 5], 0)).all()


def test_older_gpus_refuse(number_format) -> None:
    precision.set_precision("fp32")
    with running("gpu-ascending") as gpu, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "compute_capability", 75)
        with pytest.raises(DeviceError, match=rf"{number_format} needs a GPU of compute capability 8.0.*has 7.5"):
            precision.set_precision(number_format)
        assert precision.current() == "fp32"
