"""Products by tensor cores. In tf32 factors are rounded to 10 bits of mantissa, in 3xtf32 split into two such numbers;
everything after that is as exact as single precision is."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from caffepy import device
from caffepy.device import source
from caffepy.errors import ArgumentError, DeviceError
from caffepy.kernels import precision
from caffepy.layers.basis import gemm_plan
from caffepy.layers.basis.gemm_plan import Choice, Tile
from caffepy.layers.common import inner_product, inner_product_plan
from caffepy.layers.vision import convolution, convolution_plan
from caffepy.layers.vision.window import Window
from tests.cuda_on_cpu import EmulatedCuda, unavailable
from tests.gpu_mode import downloaded, running

TENSOR_TILES = [t for t in vars(gemm_plan).values() if isinstance(t, Tile) and t.tf32]
SPLIT_TILES = [*gemm_plan.SPLIT.values()]

CONVOLUTIONS = {
    # bottom shape, outputs, group, kernel, stride, pad
    "3x3, groups": ((2, 12, 11, 12), 74, 2, 3, 1, 1),
    "1x1, rows in fours": ((2, 36, 10, 10), 140, 1, 1, 1, 0),
    "colours, stride 2": ((1, 3, 24, 23), 35, 1, 5, 2, 2),
}


def rounded(x):
    """To TF32: the nearest number with 10 bits of mantissa, away from zero in a draw."""
    bits = (x.view(np.uint32) + np.uint32(1 << 12)) & ~np.uint32((1 << 13) - 1)
    return bits.view(np.float32).astype(np.float64)


def test_rounding():
    one, step = np.float32(1), np.float32(2**-10)
    x = np.array([one, one + step / 4, one + step / 2, -one - step / 2, one + step * 3 / 2, 0, -0.0], np.float32)
    np.testing.assert_array_equal(rounded(x), [1, 1, 1 + step, -1 - step, 1 + 2 * step, 0, 0])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolved(bottom, top, weight, group, kernel, stride, pad):
    """(top, bottom_diff, weight_diff) of a square window, from the definition, in float64."""
    padded = np.pad(bottom.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    result, diffs, weight_diff = (np.zeros(like.shape) for like in (top, padded, weight))
    channels, outputs = bottom.shape[1] // group, top.shape[1] // group
    ends = [stride * (positions - 1) + 1 for positions in top.shape[2:]]
    for g in range(group):
        o, c = slice(g * outputs, (g + 1) * outputs), slice(g * channels, (g + 1) * channels)
        for y in range(kernel):
            for x in range(kernel):
                seen = (slice(None), c, slice(y, y + ends[0], stride), slice(x, x + ends[1], stride))
                tap = weight[o, :, y, x]
                result[:, o] += np.einsum("oc,nchw->nohw", tap, padded[seen])
                diffs[seen] += np.einsum("oc,nohw->nchw", tap, top[:, o])
                weight_diff[o, :, y, x] = np.einsum("nohw,nchw->oc", top[:, o], padded[seen])
    height, width = bottom.shape[2:]
    return result, diffs[:, :, pad : pad + height, pad : pad + width], weight_diff


class Convolution:
    """A case of CONVOLUTIONS on the running device."""

    def __init__(self, name):
        (num, channels, height, width), outputs, group, kernel, stride, pad = CONVOLUTIONS[name]
        self.sizes = group, kernel, stride, pad
        window = Window((kernel,) * 2, (stride,) * 2, (pad,) * 2, (1,) * 2)
        positions = window.positions((height, width))
        self.bottom, self.top = noise(num, channels, height, width), noise(num, outputs, *positions, seed=1)
        self.weight = noise(outputs, channels // group, kernel, kernel, seed=2)
        self.constants = {"window": window, "group": group}
        count = convolution_plan.workspace_count(num, (height, width), self.weight.shape, window, group)
        self.workspace = np.full(count, np.nan, np.float32)
        weights = channels // group * kernel**2
        self.terms = weights, outputs // group * kernel**2, num * math.prod(positions)

    def results(self):
        """(top, bottom_diff, weight_diff)"""
        hosts = self.bottom, self.top, self.weight, self.workspace
        bottom, top, weight, workspace = map(uploaded, hosts)
        result, bottom_diff, weight_diff = (uploaded(np.zeros_like(like)) for like in hosts[1::-1] + hosts[2:3])
        convolution.convolution_forward(bottom, weight, None, workspace, result, **self.constants)
        convolution.convolution_backward(top, weight, workspace, bottom_diff, **self.constants)
        convolution.convolution_backward_weights(bottom, top, workspace, weight_diff, **self.constants)
        return [downloaded(array) for array in (result, bottom_diff, weight_diff)]

    def references(self, of):
        """The same from the definition, with `of` applied to every factor."""
        return convolved(of(self.bottom), of(self.top), of(self.weight), *self.sizes)


class InnerProduct:
    """40 vectors of 70 elements to 52 on the running device."""

    def __init__(self, transpose, num=40, inputs=70, outputs=52):
        self.bottom, self.top = noise(num, inputs), noise(num, outputs, seed=1)
        self.weight, self.constants = noise(outputs, inputs, seed=2), {"transpose": transpose}
        count = inner_product_plan.workspace_count(num, inputs, outputs)
        self.workspace, self.terms = np.full(count, np.nan, np.float32), (inputs, outputs, num)

    def laid_out(self, weight):
        return np.ascontiguousarray(weight.T if self.constants["transpose"] else weight)

    def results(self):
        """(top, bottom_diff, weight_diff)"""
        bottom, top, workspace = map(uploaded, (self.bottom, self.top, self.workspace))
        weight, weight_diff = (uploaded(self.laid_out(w)) for w in (self.weight, np.zeros_like(self.weight)))
        result, bottom_diff = (uploaded(np.zeros_like(like)) for like in (self.top, self.bottom))
        inner_product.inner_product_forward(bottom, weight, None, workspace, result, **self.constants)
        inner_product.inner_product_backward(top, weight, workspace, bottom_diff, **self.constants)
        inner_product.inner_product_backward_weights(bottom, top, workspace, weight_diff, **self.constants)
        return [downloaded(array) for array in (result, bottom_diff, weight_diff)]

    def references(self, of):
        """The same from the definition, with `of` applied to every factor."""
        bottom, top, weight = map(of, (self.bottom, self.top, self.weight))
        return bottom @ weight.T, top @ weight, self.laid_out(top.T @ bottom)


def uploaded(host):
    array = device.current().zeros(host.size, host.dtype).reshape(host.shape)
    device.current().upload(host, array)
    return array


def errors(case, instructions):
    """For each of the three products, errors against the factors it shall have and against others, and what may be.

    A sum of n terms made in any order is off by n steps of a float32 at most, 2^-24 of the sum of the terms' sizes
    each; twice that where sums are cut off instead of rounded, as tensor cores may. Splitting a factor leaves 2^-22 of
    it, and leaving out the product of the rests again as much.
    """
    results, sizes = case.results(), case.references(lambda x: np.abs(x.astype(np.float64)))
    exact, others = map(case.references, (rounded, np.float64) if instructions == 1 else (np.float64, rounded))
    for result, to, other, size, terms in zip(results, exact, others, sizes, case.terms, strict=True):
        steps = instructions * terms + 2 + (6 if instructions == 3 else 0)
        yield np.abs(result - to), np.abs(result - other), steps * 2.0**-23 * size


def check(case, tile):
    for error, other, bound in errors(case, tile.tf32):
        assert (error <= bound).all()
        assert other.max() > 30 * error.max()  # it is these factors


@contextmanager
def asked_for(name: str) -> Iterator[None]:
    precision.set_precision(name)
    try:
        yield
    finally:
        precision.set_precision("fp32")


def always(tile) -> Callable[..., Choice]:
    """A choice of this tile, in two parts where that is possible."""

    def choose(product, tiles, multiprocessors, split=True):
        slabs = -(-product.terms // tile.tile_k)
        return Choice(tile, 2, -(-slabs // 2)) if split and slabs > 1 else Choice(tile, 1, slabs)

    return choose


@pytest.mark.parametrize("tile", TENSOR_TILES + SPLIT_TILES, ids=str)
def test_every_tile(gpu, tile, monkeypatch):
    monkeypatch.setattr(gemm_plan, "choose", always(tile))
    check(Convolution("3x3, groups"), tile)


@pytest.mark.parametrize("tile", [gemm_plan.TENSOR_LARGE, gemm_plan.TENSOR_MIDDLE], ids=str)
@pytest.mark.parametrize("case", [*CONVOLUTIONS, False, True])
def test_every_operand(case, tile, monkeypatch):
    monkeypatch.setattr(gemm_plan, "choose", always(tile))
    with running("gpu-random"):
        check(Convolution(case) if isinstance(case, str) else InnerProduct(transpose=case), tile)


def test_what_is_not_finite(monkeypatch):
    """NaN stays NaN, whichever it is, and infinity infinity."""
    monkeypatch.setattr(gemm_plan, "choose", always(gemm_plan.TENSOR_MIDDLE))
    with running("gpu-ascending"):
        case = InnerProduct(transpose=False)
        case.bottom[1, 2], case.bottom[3, 4] = np.inf, np.array(0x7F800001, np.uint32).view(np.float32)
        top = case.results()[0]
    np.testing.assert_array_equal(top[1], np.sign(case.weight[:, 2]) * np.inf)
    assert np.isnan(top[3]).all()
    assert np.isfinite(np.delete(top, [1, 3], 0)).all()


PLANTED = {
    "rows of a fragment in the other order": ("a[0][i + 1], a[1][i],", "a[1][i], a[0][i + 1],"),
    "sums of a fragment in the other order": ("sums.of[i][odd] = d[1], sums", "sums.of[i][odd] = d[2], sums"),
    "columns as where sums are": ("right.term(k + 4 * half) + t * right.step, Sums::held_column", None),
    "the same terms in both halves": ("left.term(k + 4 * half) + t", "left.term(k) + t"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_layout_is_seen(name, monkeypatch):
    right, wrong = PLANTED[name]
    wrong = wrong or right.replace("held_column", "column")
    if reason := unavailable():
        pytest.skip(reason)
    text = source.text
    assert text("inner_product_forward.cu").count(right) == 1
    monkeypatch.setattr(source, "text", lambda file: text(file).replace(right, wrong))
    monkeypatch.setattr(gemm_plan, "choose", always(gemm_plan.TENSOR_MIDDLE))
    device.use(EmulatedCuda())
    device.set_mode_gpu()
    try:
        error, _, bound = next(errors(InnerProduct(transpose=False), 1))
    finally:
        device.use(None)
    assert (error > bound).any()


def test_products_are_in_tf32_on_request_only():
    def tiles(num):
        case = Convolution("1x1, rows in fours")
        arrays = (np.broadcast_to(a[:1], (num, *a.shape[1:])) for a in (case.bottom, case.top))
        bottom, top = arrays
        launches = convolution_plan.forward(bottom, case.weight, None, None, top, **case.constants)
        return {launch.constants["tf32"] for launch in launches}

    assert tiles(64) == {0}
    with asked_for("tf32"):
        assert tiles(64) == {1}
    with asked_for("3xtf32"):
        assert tiles(64) == {3}
    assert tiles(64) == {0}


def test_no_other_precision():
    with pytest.raises(ArgumentError, match="precision 'half': give one of fp32, tf32, 3xtf32"):
        precision.set_precision("half")
    assert precision.current() == "fp32"


def test_older_gpus_refuse():
    with running("gpu-ascending") as gpu, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "compute_capability", 75)
        with pytest.raises(DeviceError, match=r"tf32 needs a GPU of compute capability 8.0.*has 7.5"):
            precision.set_precision("tf32")
        assert precision.current() == "fp32"
    with asked_for("tf32"), running("gpu-ascending") as gpu, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "compute_capability", 75)
        with pytest.raises(DeviceError, match=r'call set_precision\("fp32"\)'):
            InnerProduct(transpose=False).results()
        device.set_mode_cpu()
