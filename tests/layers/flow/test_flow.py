"""FlowNet's layers against their definitions: Correlation, Correlation1D, ChannelNorm, FlowWarp, Resample."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.gpu_mode import SCHEDULES, running
from tests.layers.runner import build, check_gradient, check_manners, fill
from tests.nets import make


def at(image, y, x):
    """(c): the pixel, zeros outside."""
    inside = 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
    return image[:, y, x] if inside else np.zeros(len(image))


def correlation(first, second, size, displacements, corner, stride, kernel, compare):
    """The definition for one item; `corner` is where the first patch begins."""
    top = np.zeros((len(displacements), *size))
    for d, (dy, dx) in enumerate(displacements):
        for i, j in np.ndindex(*size):
            y, x = i * stride + corner[0], j * stride + corner[1]
            top[d, i, j] = np.mean(
                [
                    compare(at(first, y + a, x + b), at(second, y + a + dy, x + b + dx))
                    for a, b in np.ndindex(kernel, kernel)
                ]
            )
    return top


COMPARE = {"MULTIPLY": lambda a, b: a * b, "SUBTRACT": lambda a, b: abs(a - b)}
CORRELATIONS = [
    # parameters, the top's size, displacements along y and along x, corner
    (
        'type: "Correlation" correlation_param { pad: 3 kernel_size: 3 max_displacement: 2 stride_1: 2 stride_2: 2',
        (3, 4),
        (range(-2, 3, 2), range(-2, 3, 2)),
        (-1, -1),
    ),
    (
        'type: "Correlation" correlation_param { kernel_size: 1 max_displacement: 1',
        (4, 5),
        (range(-1, 2), range(-1, 2)),
        (1, 1),
    ),
    (
        'type: "Correlation1D" correlation_param { pad: 2 kernel_size: 3 max_displacement: 2',
        (4, 5),
        ([0], range(-2, 3)),
        (0, 0),
    ),
    (
        'type: "Correlation1D" correlation_param { pad: 2 kernel_size: 1 max_displacement: 2 single_direction: -1',
        (6, 7),
        ([0], range(-3, 0)),
        (0, 0),
    ),
    (
        'type: "Correlation1D" correlation_param { kernel_size: 1 max_displacement: 2 stride_2: 2 single_direction: 1',
        (6, 3),
        ([0], range(0, 3, 2)),
        (0, 2),
    ),
]


@pytest.mark.parametrize("kind", COMPARE)
@pytest.mark.parametrize(("text", "size", "displacements", "corner"), CORRELATIONS)
def test_correlation(text, size, displacements, corner, kind):
    case = build(f"{text} correlation_type: {kind} }}", [(2, 3, 6, 7)] * 2)
    rng = np.random.default_rng(0)
    fill(case, rng)
    p = case.layer.param.correlation_param
    pairs = [(dy, dx) for dy in displacements[0] for dx in displacements[1]]
    (top,) = case.forward()
    for n, found in enumerate(top):
        images = [blob.data[n].astype(np.float64) for blob in case.bottom]
        expected = correlation(*images, size, pairs, corner, p.stride_1, p.kernel_size, COMPARE[kind])
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6)
    if kind == "SUBTRACT":  # no two values nearer than the gradient check's step
        for blob, start in zip(case.bottom, (0.25, 0), strict=True):
            blob.data[...] = rng.permutation(blob.data.size).reshape(blob.shape) * 0.5 + start
    check_gradient(case, 0, rng)
    check_gradient(case, 1, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ("max_displacement: 1", [(1, 2, 5, 5)] * 2, "give correlation_param { kernel_size }"),
        ("kernel_size: 1", [(1, 2, 5, 5)] * 2, "give correlation_param { max_displacement }"),
        ("kernel_size: 2 max_displacement: 1", [(1, 2, 5, 5)] * 2, "kernel_size: 2 must be odd"),
        ("kernel_size: 1 max_displacement: 1 stride_2: 0", [(1, 2, 5, 5)] * 2, "stride_1: 1 and stride_2: 0 must be 1"),
        ("kernel_size: 1 max_displacement: 1 single_direction: 1", [(1, 2, 5, 5)] * 2, "1 is for Correlation1D"),
        ("kernel_size: 1 max_displacement: 1", [(1, 2, 5, 5), (1, 2, 5, 4)], r"one shape, got \(1, 2, 5, 5\) and"),
        (
            "kernel_size: 3 max_displacement: 2",
            [(1, 2, 5, 9)] * 2,
            "kernel_size: 3 moved by max_displacement: 2 do not",
        ),
    ],
)
def test_correlation_says(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "Correlation" correlation_param {{ {text} }}', shapes)


def test_correlation_1d_says():
    with pytest.raises(LayerError, match=r"single_direction: 2 must be -1 \(left\), 0 \(both\) or 1 \(right\)"):
        build(
            'type: "Correlation1D" correlation_param { kernel_size: 1 max_displacement: 1 single_direction: 2 }',
            [(1, 2, 5, 5)] * 2,
        )


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 3)])
def test_channel_norm(shape):
    case = build('type: "ChannelNorm"', [shape])
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    np.testing.assert_allclose(top, np.linalg.norm(case.bottom[0].data, axis=1, keepdims=True), 1e-5)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_channel_norm_of_zeros_and_of_too_few_axes():
    case = build('type: "ChannelNorm"', [(2, 3)])
    case.forward()
    case.top[0].diff[...] = 1
    assert not case.backward()[0].any()
    with pytest.raises(LayerError, match=r"must have 2 axes at least, got shape \(3,\)"):
        build('type: "ChannelNorm"', [(3,)])


def warped(image, flow, outside):
    """The definition for one item."""
    _, h, w = image.shape
    top = np.full(image.shape, float(outside))
    for y, x in np.ndindex(h, w):
        to_x, to_y = x + flow[0, y, x], y + flow[1, y, x]
        if 0 <= to_x < w and 0 <= to_y < h:
            left, up = math.floor(to_x), math.floor(to_y)
            a, b = to_x - left, to_y - up
            right, low = min(left + 1, w - 1), min(up + 1, h - 1)
            above = (1 - a) * image[:, up, left] + a * image[:, up, right]
            below = (1 - a) * image[:, low, left] + a * image[:, low, right]
            top[:, y, x] = (1 - b) * above + b * below
    return top


@pytest.mark.parametrize(("fill_value", "outside"), [("ZERO", 0), ("NOT_A_NUMBER", np.nan)])
def test_flow_warp(fill_value, outside):
    case = build(f'type: "FlowWarp" flow_warp_param {{ fill_value: {fill_value} }}', [(2, 3, 5, 6), (2, 2, 5, 6)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    # whole pixels, and a part of one that no step of the gradient check leaves
    flow = rng.integers(-3, 4, (2, 2, 5, 6)) + rng.uniform(0.1, 0.9, (2, 2, 5, 6))
    case.bottom[1].data[...] = flow
    (top,) = case.forward()
    image, flow = (blob.data.astype(np.float64) for blob in case.bottom)
    expected = [warped(i, f, outside) for i, f in zip(image, flow, strict=True)]
    assert np.isnan(top).any() == np.isnan(outside)
    np.testing.assert_allclose(top, expected, 1e-4, 1e-5)
    if not np.isnan(outside):
        check_gradient(case, 0, rng)
        check_gradient(case, 1, rng)
        check_manners(case, rng)


def test_flow_warp_nowhere():
    case = build('type: "FlowWarp"', [(1, 1, 2, 2), (1, 2, 2, 2)])
    case.bottom[0].data[...] = 1
    case.bottom[1].data[...] = [[[[np.nan, np.inf], [-np.inf, 0]], [[0, 0], [0, 0]]]]
    assert case.forward()[0].tolist() == [[[[0, 0], [0, 1]]]]
    case.top[0].diff[...] = 1
    image, flow = case.backward()
    assert image.tolist() == [[[[0, 0], [0, 1]]]]
    assert not flow.any()


def test_flow_warp_adds_in_the_same_order_whoever_is_first():
    rng = np.random.default_rng(0)
    image, flow, diff = (rng.standard_normal(shape) for shape in ((1, 1, 9, 9), (1, 2, 9, 9), (1, 1, 9, 9)))
    flow[0, 0], flow[0, 1] = 4.3 - np.arange(9), 5.6 - np.arange(9)[:, None]  # all of them see the same place

    def image_diff(schedule):
        with running(f"gpu-{schedule}"):
            inputs = [
                f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: {shape} }} }} }}'
                for name, shape in (("image", [1, 1, 9, 9]), ("flow", [1, 2, 9, 9]))
            ]
            layer = 'layer { name: "warp" type: "FlowWarp" bottom: "image" bottom: "flow" top: "top" }'
            net = make(f"force_backward: true {' '.join(inputs)} {layer}")
            net.forward(image=image, flow=flow)
            return net.backward(top=diff)["image"].copy()

    first, *others = map(image_diff, SCHEDULES)
    assert np.count_nonzero(first) == 4
    assert all(np.array_equal(first, other) for other in others)


def test_flow_warp_says():
    with pytest.raises(LayerError, match=r"'bottom1', the flow, has shape \(1, 3, 4, 5\); .* must be \(1, 2, 4, 5\)"):
        build('type: "FlowWarp"', [(1, 3, 4, 5)] * 2)


def cubic(d):
    d = abs(d)
    return 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0


FILTERS = {"LINEAR": (lambda d: max(0, 1 - abs(d)), 2), "CUBIC": (cubic, 4)}


def resampled(image, height, width, kind, antialias):
    """The definition for one plane."""
    h, w = image.shape
    fy, fx = h / height, w / width
    top = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        y, x = i * fy + fx / 2 - 0.5, j * fx + fy / 2 - 0.5
        near_y, near_x = (math.floor(abs(v) + 0.5) * (1 if v >= 0 else -1) for v in (y, x))
        if kind == "NEAREST":
            top[i, j] = image[min(max(near_y, 0), h - 1), min(max(near_x, 0), w - 1)]
            continue
        curve, reach = FILTERS[kind]
        narrow = antialias and (fx > 1 or fy > 1)
        ay, ax = (1 / f if narrow else 1 for f in (fy, fx))
        ry, rx = (2 if f < 1 else math.ceil(reach / a) for f, a in ((fy, ay), (fx, ax)))
        total = weights = 0
        for r in range(max(0, near_y - ry), min(h, near_y + ry + 1)):
            for q in range(max(0, near_x - rx), min(w, near_x + rx + 1)):
                weight = curve((y - r) * ay) * curve((x - q) * ax)
                total, weights = total + weight * image[r, q], weights + weight
        top[i, j] = total / weights if weights else 0
    return top


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kind", ["NEAREST", "LINEAR", "CUBIC"])
@pytest.mark.parametrize(("height", "width"), [(6, 8), (12, 16), (4, 3), (2, 2), (9, 5)])
def test_resample(height, width, kind, antialias):
    size = f"height: {height} width: {width} type: {kind} antialias: {antialias}".lower().replace(kind.lower(), kind)
    case = build(f'type: "Resample" resample_param {{ {size} }}', [(2, 2, 6, 8)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    for n, c in np.ndindex(2, 2):
        image = case.bottom[0].data[n, c].astype(np.float64)
        np.testing.assert_allclose(top[n, c], resampled(image, height, width, kind, antialias), 1e-4, 1e-5)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_resample_takes_the_size_of_a_blob_or_a_factor():
    assert build('type: "Resample"', [(2, 3, 4, 5), (1, 1, 7, 2)]).top[0].shape == (2, 3, 7, 2)
    assert build('type: "Resample" resample_param { factor: 1.5 }', [(2, 3, 4, 5)]).top[0].shape == (2, 3, 6, 7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "give resample_param { height and width } or { factor }, or a bottom 1"),
        ("type: AREA width: 2 height: 2", "type: AREA is not there; give NEAREST, LINEAR or CUBIC"),
        ("factor: 0.1", r"cannot make 0 x 0 of bottom shape \(1, 2, 4, 4\); give 1 x 1"),
    ],
)
def test_resample_says(text, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "Resample" resample_param {{ {text} }}', [(1, 2, 4, 4)])
