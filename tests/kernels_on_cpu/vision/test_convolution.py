"""Convolution's kernels against the NumPy bodies: every road, every tile, split sums, borders not coming out even."""

import math

import numpy as np
import pytest

from caffepy.layers.basis import gemm_plan
from caffepy.layers.basis.gemm_plan import Choice
from caffepy.layers.vision import convolution, convolution_plan
from caffepy.layers.vision.convolution_normalized import convolution_normalized
from caffepy.layers.vision.window import Window
from tests.gpu_mode import check_bodies, downloaded, running


def window(axes=2, kernel=1, stride=1, pad=0, dilation=1):
    values = (kernel, stride, pad, dilation)
    return Window(*(value if isinstance(value, tuple) else (value,) * axes for value in values))


CASES = {
    # bottom shape, outputs, group, window
    "3x3": ((2, 5, 9, 11), 7, 1, window(kernel=3, pad=1)),
    "rows in fours": ((2, 8, 8, 10), 12, 1, window(kernel=3, pad=1)),
    "groups, each axis its own": ((2, 6, 13, 12), 10, 2, window(2, (3, 2), (2, 1), (1, 2), (1, 3))),
    "dilated beyond the stride": ((2, 4, 15, 13), 6, 2, window(kernel=3, stride=2, pad=2, dilation=3)),
    "dilated like the stride": ((1, 3, 13, 12), 4, 1, window(kernel=3, stride=2, pad=1, dilation=2)),
    "colours, 11x11, stride 4": ((2, 3, 31, 35), 20, 1, window(kernel=11, stride=4)),
    "colours, 7x7, stride 2": ((1, 3, 24, 23), 9, 1, window(kernel=7, stride=2, pad=3)),
    "channels, stride 2": ((1, 40, 9, 10), 8, 1, window(kernel=3, stride=2, pad=1)),
    "colours, 3x3": ((1, 3, 12, 14), 9, 1, window(kernel=3, pad=1)),
    "stride beyond the kernel": ((2, 3, 14, 13), 4, 1, window(kernel=2, stride=5, pad=1)),
    "pad beyond the kernel": ((2, 2, 3, 4), 3, 1, window(kernel=2, stride=3, pad=5)),
    "1x1": ((3, 7, 5, 5), 9, 1, window()),
    "1x1, rows in fours, groups": ((2, 16, 6, 10), 24, 2, window()),
    "1x1, stride 2": ((2, 3, 7, 6), 4, 1, window(stride=2)),
    "1x1, padded": ((2, 3, 4, 5), 4, 1, window(pad=1)),
    "long sums, few pixels": ((1, 70, 7, 7), 66, 1, window(kernel=3, pad=1)),
    "many outputs": ((1, 8, 5, 6), 270, 2, window(kernel=3)),
    "one axis": ((2, 4, 21), 6, 2, window(1, kernel=3, stride=2, pad=1)),
    "one axis, 1x1": ((2, 4, 20), 6, 1, window(1)),
    "three axes": ((2, 4, 5, 6, 7), 6, 2, window(3, (3, 2, 3), (2, 1, 1), (1, 0, 1), (1, 2, 1))),
    "three axes, 1x1": ((2, 3, 2, 3, 4), 5, 1, window(3)),
    "four axes": ((2, 2, 4, 5, 4, 6), 3, 1, window(4, (2, 3, 2, 3), (1, 2, 1, 2), (1, 1, 0, 1))),
    "depthwise": ((2, 5, 9, 8), 5, 5, window(kernel=3, pad=1)),
    "depthwise, stride 2, two outputs": ((2, 3, 11, 12), 6, 3, window(kernel=5, stride=2, pad=2)),
    "depthwise, dilated, one axis": ((2, 4, 25), 4, 4, window(1, kernel=3, stride=3, dilation=2)),
    "depthwise, many positions": ((2, 3, 50, 60), 3, 3, window(kernel=3, stride=1, pad=1)),
    "depthwise, many outputs": ((2, 3, 6, 6), 15, 3, window(kernel=3)),
    "depthwise, small planes": ((2, 19, 7, 7), 19, 19, window(kernel=3, pad=1)),
    "depthwise, narrow planes, stride 3": ((1, 4, 40, 3), 8, 4, window(kernel=(5, 2), stride=(3, 1), pad=(2, 1))),
    "depthwise, large window": ((1, 3, 20, 37), 3, 3, window(kernel=9, stride=2, pad=4)),
    "depthwise, dilated far": ((1, 2, 70, 80), 2, 2, window(kernel=2, dilation=120, pad=30)),
    "no images": ((0, 3, 6, 6), 4, 1, window(kernel=3)),
}


class Arrays:
    """Noise for a case, and a workspace as the layer would reserve it, full of NaN."""

    def __init__(self, shape, outputs, group, window):
        rng = np.random.default_rng(0)
        axes = len(window.kernel)
        num, channels, extent = math.prod(shape[: -axes - 1]), shape[-axes - 1], shape[-axes:]
        weight_shape = outputs, channels // group, *window.kernel
        top_shape = *shape[: -axes - 1], outputs, *window.positions(extent)
        self.bottom, self.top, self.weight, self.bias = (
            rng.standard_normal(s).astype(np.float32) for s in (shape, top_shape, weight_shape, (outputs,))
        )
        sizes = num, extent, weight_shape, window, group
        count = max(convolution.workspace_count(*sizes), convolution_plan.workspace_count(*sizes))
        self.workspace = np.full(count, np.nan, np.float32)
        self.constants = {"window": window, "group": group}
        self.num, self.inner = num, math.prod(top_shape[-axes:])

    def check(self, tolerance=1e-4):
        """All three products and the bias's diff."""
        c = self.constants | {"rtol": tolerance, "atol": tolerance}
        new, w = np.full_like, self.workspace
        for bias in (self.bias, None):
            arrays = self.bottom, self.weight, bias, w, new(self.top, np.nan)
            check_bodies(convolution.convolution_forward, *arrays, **c)
        check_bodies(convolution.convolution_backward, self.top, self.weight, w, new(self.bottom, np.nan), **c)
        check_bodies(convolution.convolution_backward_weights, self.bottom, self.top, w, new(self.weight, 3), **c)
        diff = new(self.bias, 3)
        check_bodies(convolution.convolution_backward_bias, self.top, self.num, self.inner, diff, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("multiprocessors", [1, 132])
@pytest.mark.parametrize("name", CASES)
def test_both_bodies_agree(gpu, name, multiprocessors, monkeypatch):
    monkeypatch.setattr(gpu, "multiprocessors", multiprocessors)
    Arrays(*CASES[name]).check()


NORMALIZED = (
    "rows in fours",
    "1x1, rows in fours, groups",
    "long sums, few pixels",
    "depthwise",
    "depthwise, dilated far",
    "three axes",
)


@pytest.mark.parametrize("multiprocessors", [1, 132])
@pytest.mark.parametrize("name", NORMALIZED)
def test_what_follows_in_place_is_done_at_once(gpu, name, multiprocessors, monkeypatch):
    monkeypatch.setattr(gpu, "multiprocessors", multiprocessors)
    a, outputs = Arrays(*CASES[name]), CASES[name][1]
    rng = np.random.default_rng(1)
    sums = [rng.uniform(1, 2, outputs).astype(np.float32) for _ in range(2)]
    statistics = *sums, np.float32([2]), np.zeros(outputs, np.float32), np.zeros(outputs, np.float32)
    scale, shift = (rng.standard_normal(outputs).astype(np.float32) for _ in range(2))
    top = np.full_like(a.top, np.nan)
    for further in ((scale, shift, top.copy()), (None, None, None), (scale, None, None)):
        for bias, slope in ((a.bias, 0.0), (None, 1.0)):
            arrays = a.bottom, a.weight, bias, *statistics, *further, a.workspace, top
            c = a.constants | {"eps": 1e-3, "negative_slope": slope}
            check_bodies(convolution_normalized, *arrays, **c, rtol=1e-4, atol=1e-4)
    nothing_gathered = *sums, np.float32([0]), *statistics[3:]
    arrays = a.bottom, a.weight, None, *nothing_gathered, None, None, None, a.workspace, top
    check_bodies(convolution_normalized, *arrays, **a.constants, eps=1.0, rtol=1e-4, atol=1e-4)


def test_the_cases_take_every_road(monkeypatch):
    taken = set()
    for multiprocessors in (1, 132):
        room = gemm_plan.Multiprocessors(multiprocessors, 227 << 10, 90)
        monkeypatch.setattr(gemm_plan, "multiprocessors", lambda room=room: room)
        for case in CASES.values():
            a = Arrays(*case)
            for plan, arrays in (
                (convolution_plan.forward, (a.bottom, a.weight, a.bias, a.workspace, a.top)),
                (convolution_plan.backward, (a.top, a.weight, a.workspace, a.bottom)),
                (convolution_plan.backward_weights, (a.bottom, a.top, a.workspace, a.weight)),
            ):
                for launch in plan(*arrays, **a.constants):
                    c = launch.constants
                    ways = {(name, launch.entry, c[name]) for name in ("by_phase", "pointwise") if name in c}
                    taken |= {launch.entry, *ways}
    products = "convolution_forward", "convolution_backward", "convolution_backward_weights"
    depthwise = "depthwise_forward", "depthwise_backward"
    passes = *depthwise, *(f"{entry}_apart" for entry in depthwise), "depthwise_backward_weights", "unfold", "fold"
    assert {*products, *passes, *(f"{entry}_sum" for entry in products)} <= taken
    assert {("pointwise", entry, pointwise) for entry in products for pointwise in (True, False)} <= taken
    assert ("by_phase", "convolution_backward", False) in taken
    assert "depthwise_backward_weights_sum" in taken


FP32_TILES = [t for t in vars(gemm_plan).values() if isinstance(t, gemm_plan.Tile) and not t.tf32]


@pytest.mark.parametrize("tile", FP32_TILES, ids=str)
def test_every_tile(tile, monkeypatch):
    def choose(product, tiles, multiprocessors, split=True):
        slabs = -(-product.terms // tile.tile_k)
        return Choice(tile, 2, -(-slabs // 2)) if split and slabs > 1 else Choice(tile, 1, slabs)

    monkeypatch.setattr(gemm_plan, "choose", choose)
    with running("gpu-random"):
        Arrays((2, 11, 12, 13), 37, 1, window(kernel=3, pad=1)).check()
        Arrays((1, 20, 14, 10), 132, 1, window()).check()


@pytest.mark.parametrize("name", ["long sums, few pixels", "depthwise, many positions", "colours, 11x11, stride 4"])
def test_every_schedule_gives_the_same_bits(name):
    results = []
    for mode in ("gpu-ascending", "gpu-descending", "gpu-random"):
        with running(mode) as gpu:
            a = Arrays(*CASES[name])
            arrays = a.bottom, a.top, a.weight, a.bias, a.workspace
            bottom, top, weight, bias, workspace = (_uploaded(gpu, array) for array in arrays)
            convolution.convolution_forward(bottom, weight, bias, workspace, top, **a.constants)
            convolution.convolution_backward(top, weight, workspace, bottom, **a.constants)
            convolution.convolution_backward_weights(bottom, top, workspace, weight, **a.constants)
            results.append([downloaded(array).tobytes() for array in (top, bottom, weight)])
    assert results[0] == results[1] == results[2]


def _uploaded(gpu, host):
    array = gpu.zeros(host.size, host.dtype).reshape(host.shape)
    gpu.upload(host, array)
    return array


CAFFENET = {
    "conv1": ((1, 3, 227, 227), 96, 1, window(kernel=11, stride=4)),
    "conv2": ((1, 96, 27, 27), 256, 2, window(kernel=5, pad=2)),
    "conv3": ((1, 256, 13, 13), 384, 1, window(kernel=3, pad=1)),
    "conv4": ((1, 384, 13, 13), 384, 2, window(kernel=3, pad=1)),
    "conv5": ((1, 384, 13, 13), 256, 2, window(kernel=3, pad=1)),
}
SQUEEZENET = {
    "conv1": ((1, 3, 227, 227), 64, 1, window(kernel=3, stride=2)),
    "fire2/squeeze1x1": ((1, 64, 56, 56), 16, 1, window()),
    "fire2/expand3x3": ((1, 16, 56, 56), 64, 1, window(kernel=3, pad=1)),
    "fire4/expand1x1": ((1, 32, 28, 28), 128, 1, window()),
    "fire6/expand3x3": ((1, 48, 14, 14), 192, 1, window(kernel=3, pad=1)),
    "conv10": ((1, 512, 14, 14), 1000, 1, window()),
}


@pytest.mark.long
@pytest.mark.parametrize("case", [*CAFFENET.values(), *SQUEEZENET.values()], ids=[*CAFFENET, *SQUEEZENET])
def test_layers_of_known_nets(case, monkeypatch):
    with running("gpu-ascending") as gpu:
        monkeypatch.setattr(gpu, "multiprocessors", 132)
        Arrays(*case).check(tolerance=1e-3)
