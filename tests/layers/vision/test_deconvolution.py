"""Deconvolution against its definition: every pixel times every weight, added where the window puts it."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.gpu_mode import MODES, running
from tests.layers.runner import build, check_gradient, check_manners, fill

CASES = {
    "stride beyond the kernel": ((2, 2, 4, 3), {"num_output": 3, "kernel_size": 2, "stride": 4}),
    "pad beyond the kernel": ((1, 2, 7, 8), {"num_output": 3, "kernel_size": 2, "pad": 3}),
    "bilinear upsampling": ((2, 3, 4, 5), {"num_output": 3, "kernel_size": 4, "stride": 2, "pad": 1, "group": 3}),
    "dilated, grouped": ((2, 4, 5, 4), {"num_output": 6, "kernel_size": 3, "dilation": 3, "stride": 2, "group": 2}),
    "depthwise, two channels each": ((2, 6, 5, 4), {"num_output": 3, "kernel_size": 3, "stride": 2, "group": 3}),
    "one axis": ((2, 4, 7), {"num_output": 6, "kernel_size": 3, "stride": 2, "pad": 1, "group": 2}),
    "three axes": ((1, 2, 3, 2, 4), {"num_output": 3, "kernel_size": 2, "stride": 2}),
}


def by_definition(x, weight, bias, kernel_size, num_output, stride=1, pad=0, dilation=1, group=1):
    axes = x.ndim - 2
    whole = [stride * (n - 1) + dilation * (kernel_size - 1) + 1 for n in x.shape[2:]]
    top = np.zeros((len(x), num_output, *whole))
    for n, c, *p in np.ndindex(x.shape):
        first = c // (x.shape[1] // group) * (num_output // group)
        for o, *k in np.ndindex(weight.shape[1:]):
            place = tuple(p[a] * stride + k[a] * dilation for a in range(axes))
            top[(n, first + o, *place)] += float(weight[(c, o, *k)]) * float(x[(n, c, *p)])
    top += bias.reshape(-1, *[1] * axes)
    return top[(..., *(slice(pad, size - pad) for size in whole))]


def case_of(name, rng):
    shape, param = CASES[name]
    text = " ".join(f"{key}: {value}" for key, value in param.items())
    case = build(f'type: "Deconvolution" convolution_param {{ {text} }}', [shape])
    fill(case, rng)
    return case


@pytest.mark.parametrize("name", CASES)
def test_it_is_its_definition(name):
    rng = np.random.default_rng(0)
    case = case_of(name, rng)
    expected = by_definition(case.bottom[0].data, *(w.data for w in case.weights), **CASES[name][1])
    (found,) = case.forward()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5)
    for where in (0, ("param", 0), ("param", 1)):
        check_gradient(case, where, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("mode", MODES)
def test_gpu_adds_the_bias_to_fours_and_to_odd_extents(mode):
    with running(mode):
        for name in ("bilinear upsampling", "one axis", "three axes"):
            case = case_of(name, np.random.default_rng(0))
            expected = by_definition(case.bottom[0].data, *(w.data for w in case.weights), **CASES[name][1])
            np.testing.assert_allclose(case.forward()[0], expected, 1e-4, 1e-5)


def test_bilinear_filler_gives_bilinear_upsampling():
    text = 'num_output: 2 group: 2 kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "bilinear" }'
    case = build(f'type: "Deconvolution" convolution_param {{ {text} }}', [(1, 2, 3, 5)])
    case.bottom[0].data[...] = np.arange(5)
    ramp = case.forward()[0][0, 1, 2, 1:-1]
    np.testing.assert_allclose(ramp, [0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75], 1e-6)


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("kernel_size: 3", (1, 3, 5, 5), "num_output and group must be at least 1, got 0 and 1"),
        ("num_output: 4 kernel_size: 3 group: 3", (1, 3, 5, 5), "num_output must be a multiple of group, got 4"),
        ("num_output: 4 kernel_size: 2 pad: 2", (1, 3, 3, 1), r"pad leaves nothing .* give \(0, -2\)"),
        ("num_output: 4 kernel_size: 3", (3,), "axis: 1 is outside"),
    ],
)
def test_errors(text, shape, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Deconvolution" convolution_param {{ {text} }}', [shape])
