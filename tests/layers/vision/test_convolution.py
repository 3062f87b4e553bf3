"""Convolution against its definition: for every position and output, the sum over what the window sees."""

import re

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.layers.vision import arranged, convolution, depthwise, im2col
from tests.layers.runner import build, check_gradient, check_manners, fill

CASES = {
    "1x1": ((2, 3, 4, 5), "num_output: 4 kernel_size: 1"),
    "1x1, stride 2": ((2, 3, 7, 6), "num_output: 4 kernel_size: 1 stride: 2"),
    "1x1, padded": ((2, 3, 4, 5), "num_output: 4 kernel_size: 1 pad: 1"),
    "1x1, one image": ((1, 6, 17, 17), "num_output: 4 kernel_size: 1 group: 2"),
    "image as large as the kernel": ((3, 4, 3, 3), "num_output: 5 kernel_size: 3"),
    "images side by side": ((6, 2, 5, 5), "num_output: 4 kernel_size: 3 pad: 1 group: 2"),
    "an odd number of images": ((3, 2, 18, 17), "num_output: 2 kernel_size: 3"),
    "stride beyond the kernel": ((2, 2, 11, 10), "num_output: 3 kernel_size: 2 stride: 4"),
    "stride 3, kernel 4, last pixels unseen": ((2, 2, 12, 13), "num_output: 3 kernel_size: 4 stride: 3 pad: 1"),
    "pad beyond the kernel": ((2, 2, 3, 4), "num_output: 3 kernel_size: 2 pad: 3"),
    "rectangle": ((2, 3, 7, 8), "num_output: 2 kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 2 pad_h: 1 pad_w: 2"),
    "only pad_h": ((2, 3, 7, 8), "num_output: 2 kernel_size: 3 pad_h: 1"),
    "dilated beyond the stride": ((2, 4, 13, 12), "num_output: 6 kernel_size: 3 dilation: 3 stride: 2 pad: 2 group: 2"),
    "dilated like the stride": ((2, 2, 13, 12), "num_output: 2 kernel_size: 3 dilation: 2 stride: 2 pad: 1"),
    "each axis its own": ((1, 2, 9, 8), "num_output: 2 kernel_size: 3 kernel_size: 2 dilation: 1 dilation: 2"),
    "one axis": ((2, 4, 11), "num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2"),
    "three axes": ((2, 2, 5, 4, 6), "num_output: 3 kernel_size: 3 kernel_size: 2 kernel_size: 3 stride: 2 pad: 1"),
    "axis 2": ((2, 3, 2, 5, 6), "axis: 2 num_output: 4 kernel_size: 3 pad: 1"),
    "axis -2": ((2, 3, 2, 5), "axis: -2 num_output: 4 kernel_size: 3"),
    "depthwise": ((2, 5, 7, 6), "num_output: 5 kernel_size: 3 pad: 1 group: 5"),
    "depthwise, stride 2": ((2, 5, 8, 7), "num_output: 5 kernel_size: 3 stride: 2 pad: 1 group: 5"),
    "depthwise, two outputs each": ((2, 3, 6, 6), "num_output: 6 kernel_size: 3 group: 3"),
    "depthwise, dilated, one axis": ((2, 4, 12), "num_output: 4 kernel_size: 3 dilation: 2 stride: 3 group: 4"),
    "depthwise, stride beyond the kernel": ((3, 3, 9, 8), "num_output: 3 kernel_h: 2 kernel_w: 1 stride: 3 group: 3"),
    "depthwise, stride 2, dilation 2 and 3": (
        (3, 3, 13, 14),
        "num_output: 6 kernel_size: 3 stride: 2 pad: 2 dilation: 2 dilation: 3 group: 3",
    ),
    "depthwise, many outputs each": ((2, 3, 6, 6), "num_output: 15 kernel_size: 3 group: 3"),
    "no bias": ((2, 3, 6, 5), "num_output: 4 kernel_size: 3 bias_term: false"),
}


def case_of(name, seed=0):
    shape, text = CASES[name]
    case = build(f'type: "Convolution" convolution_param {{ {text} }}', [shape])
    rng = np.random.default_rng(seed)
    fill(case, rng)
    return case, rng


def per_axis(text, name, axes, default):
    pair = [re.findall(rf"\b{name}_{side}: (\d+)", text) for side in "hw"]
    if any(pair):
        return [int(found[0]) if found else 0 for found in pair]
    values = [int(v) for v in re.findall(rf"\b{name}(?:_size)?: (\d+)", text)] or [default]
    return values * axes if len(values) == 1 else values


def by_definition(x, weight, bias, text):
    axes = weight.ndim - 2
    kernel, stride, pad, dilation = (
        np.array(per_axis(text, name, axes, default))
        for name, default in (("kernel", None), ("stride", 1), ("pad", 0), ("dilation", 1))
    )
    group = int((re.findall(r"group: (\d+)", text) or ["1"])[0])
    lead = x.shape[: x.ndim - axes - 1]
    x = x.reshape(-1, *x.shape[x.ndim - axes - 1 :]).astype(np.float64)
    extent = np.array(x.shape[2:])
    positions = (extent + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    outputs, inputs = weight.shape[:2]
    top = np.zeros((len(x), outputs, *positions))
    for n, o, *p in np.ndindex(top.shape):
        first_channel = o // (outputs // group) * inputs
        total = 0.0 if bias is None else float(bias[o])
        for c, *k in np.ndindex(weight.shape[1:]):
            pixel = np.array(p) * stride + np.array(k) * dilation - pad
            if (pixel >= 0).all() and (pixel < extent).all():
                total += float(weight[(o, c, *k)]) * x[(n, first_channel + c, *pixel)]
        top[(n, o, *p)] = total
    return top.reshape(*lead, *top.shape[1:])


@pytest.mark.parametrize("name", CASES)
def test_it_is_its_definition(name):
    case, rng = case_of(name)
    bias = case.weights[1].data if len(case.weights) > 1 else None
    expected = by_definition(case.bottom[0].data, case.weights[0].data, bias, CASES[name][1])
    (found,) = case.forward()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5)
    check_gradient(case, 0, rng)
    for index in range(len(case.weights)):
        check_gradient(case, ("param", index), rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    "name", ["stride 3, kernel 4, last pixels unseen", "three axes", "one axis", "an odd number of images"]
)
def test_columns_made_a_few_rows_at_a_time_give_the_same(name, monkeypatch):
    results = []
    for size in (1 << 20, 100):
        monkeypatch.setattr(im2col, "COLUMNS", size)
        convolution._columns.cache_clear()
        case, rng = case_of(name)
        case.forward()
        case.top[0].diff[...] = rng.standard_normal(case.top[0].shape)
        case.backward()
        results.append([case.top[0].data, case.bottom[0].diff, *(w.diff for w in case.weights)])
    convolution._columns.cache_clear()
    for whole, rows in zip(*results, strict=True):
        np.testing.assert_allclose(rows, whole, 1e-5, 1e-5)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("depthwise")])
@pytest.mark.parametrize("run", [1, 60])
def test_depthwise_a_few_planes_at_a_time_gives_the_same(name, run, monkeypatch):
    results = []
    for small in (False, True):
        if small:
            monkeypatch.setattr(arranged, "RUN", run)
            monkeypatch.setattr(depthwise, "RUN", run)
            monkeypatch.setattr(arranged, "BLOCK", 150)
        case, rng = case_of(name)
        case.forward()
        case.top[0].diff[...] = rng.standard_normal(case.top[0].shape)
        case.backward()
        results.append([case.top[0].data, case.bottom[0].diff, *(w.diff for w in case.weights)])
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, 1e-5, 1e-5)


def test_reshape_keeps_the_weights():
    case, rng = case_of("rectangle")
    weight = case.weights[0].data.copy()
    case.reshape((3, 3, 12, 5))
    case.bottom[0].data[...] = rng.standard_normal((3, 3, 12, 5))
    expected = by_definition(case.bottom[0].data, weight, case.weights[1].data, CASES["rectangle"][1])
    np.testing.assert_allclose(case.forward()[0], expected, 1e-4, 1e-5)


@pytest.mark.parametrize("name", ["rectangle", "depthwise", "1x1", "images side by side"])
def test_no_images(name):
    case, _ = case_of(name)
    case.reshape((0, *case.bottom[0].shape[1:]))
    assert case.forward()[0].shape == (0, *case.top[0].shape[1:])
    assert case.backward()[0].size == 0
    assert not case.weights[0].diff.any()


def test_several_bottoms_share_the_weights_and_add_to_their_diffs():
    text = 'type: "Convolution" bottom: "a" bottom: "b" top: "c" top: "d" convolution_param {{ {} }}'
    shape, body = (2, 3, 6, 5), "num_output: 4 kernel_size: 3"
    case = build(text.format(body), [shape, shape])
    rng = np.random.default_rng(4)
    fill(case, rng)
    for bottom, top in zip(case.bottom, case.forward(), strict=True):
        expected = by_definition(bottom.data, case.weights[0].data, case.weights[1].data, body)
        np.testing.assert_allclose(top, expected, 1e-4, 1e-5)
    for where in (0, 1, ("param", 0), ("param", 1)):
        check_gradient(case, where, rng, tops=(0, 1))


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("num_output: 4", (1, 3, 5, 5), "give kernel_size, or kernel_h and kernel_w"),
        ("kernel_size: 3", (1, 3, 5, 5), "num_output and group must be at least 1, got 0 and 1"),
        ("num_output: 4 kernel_size: 3 group: 0", (1, 3, 5, 5), "at least 1, got 4 and 0"),
        ("num_output: 4 kernel_size: 3 group: 2", (1, 3, 5, 5), "channels of the bottom must be a multiple of group"),
        ("num_output: 4 kernel_size: 3 group: 3", (1, 3, 5, 5), "num_output must be a multiple of group, got 4"),
        (
            "num_output: 4 kernel_size: 3 kernel_h: 3",
            (1, 3, 5, 5),
            "give kernel_size, or kernel_h and kernel_w; not both",
        ),
        ("num_output: 4 kernel_h: 3", (1, 3, 5, 5), r"kernel must be at least 1 along every axis, got \(3, 0\)"),
        ("num_output: 4 kernel_h: 3 kernel_w: 3", (1, 3, 5), "are for 2 spatial axes, here are 1"),
        ("num_output: 4 kernel_size: 3 stride: 0", (1, 3, 5, 5), r"stride must be at least 1 along every axis"),
        ("num_output: 4 kernel_size: 3 dilation: 0", (1, 3, 5, 5), r"dilation must be at least 1 along every axis"),
        ("num_output: 4 kernel_size: 3 kernel_size: 3", (1, 3, 5, 5, 5), "given 2 times for 3 spatial axes"),
        ("num_output: 4 kernel_size: 6", (1, 3, 5, 5), r"does not fit into the bottom, whose shape is \(1, 3, 5, 5\)"),
        ("num_output: 4 kernel_size: 3 axis: 4", (1, 3, 5, 5), "axis: 4 is outside bottom 0"),
        ("num_output: 4 kernel_size: 3 axis: 3", (1, 3, 5, 5), "has no axis after axis 3"),
    ],
)
def test_wrong_parameters(text, shape, message):
    with pytest.raises(LayerError, match=f"layer 'layer' .Convolution.: .*{message}"):
        build(f'type: "Convolution" convolution_param {{ {text} }}', [shape])


def test_wrong_bottoms():
    case, _ = case_of("no bias")
    with pytest.raises(LayerError, match=r"must keep its 4 axes and 3 channels in axis 1, got shape \(2, 4, 6, 5\)"):
        case.reshape((2, 4, 6, 5))
    text = 'type: "Convolution" bottom: "a" bottom: "b" top: "c" top: "d" convolution_param {{ {} }}'
    with pytest.raises(LayerError, match=r"one shape, got \(1, 3, 5, 5\) and \(1, 3, 6, 5\) in 'b'"):
        build(text.format("num_output: 2 kernel_size: 3"), [(1, 3, 5, 5), (1, 3, 6, 5)])
    with pytest.raises(LayerError, match="as many tops as bottoms"):
        build(text.format("num_output: 2 kernel_size: 3").replace(' top: "d"', ""), [(1, 3, 5, 5)] * 2)
