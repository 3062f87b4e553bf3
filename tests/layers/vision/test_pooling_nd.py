"""Pooling along one, three and four axes, box by box from its definition."""

import math

import numpy as np
import pytest

import caffepy
from caffepy.errors import LayerError
from tests.gpu_mode import REAL, running
from tests.layers.runner import build, check_gradient, check_manners

LOWEST = np.finfo(np.float32).min
CASES = [
    ("kernel_size: 2 stride: 2", (2, 3, 5, 4, 6), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
    ("kernel_size: 3 stride: 2 pad: 1", (1, 2, 4, 5, 6), (3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ("kernel_size: 2 stride: 2 round_mode: FLOOR", (2, 1, 5, 5, 5), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
    (
        "kernel_shape { dim: 1 dim: 3 dim: 2 } stride_shape { dim: 2 dim: 1 dim: 3 } "
        "pad_shape { dim: 0 dim: 2 dim: 1 }",
        (2, 2, 4, 5, 7),
        (1, 3, 2),
        (2, 1, 3),
        (0, 2, 1),
    ),
    ("kernel_shape { dim: 3 } stride_shape { dim: 2 }", (2, 3, 8), (3,), (2,), (0,)),
    ("kernel_shape { dim: 3 dim: 2 }", (2, 3, 5, 4), (3, 2), (1, 1), (0, 0)),
    ("kernel_size: 2 stride: 2", (1, 2, 3, 2, 4, 3), (2, 2, 2, 2), (2, 2, 2, 2), (0, 0, 0, 0)),
    ("kernel_size: 1 stride: 3", (1, 1, 6, 5, 6), (1, 1, 1), (3, 3, 3), (0, 0, 0)),
]


def by_definition(x, diff, pool, kernel, stride, pad):
    """Top and bottom diff."""
    top, bottom_diff = np.zeros(diff.shape), np.zeros(x.shape)
    for n, c, *box in np.ndindex(diff.shape):
        begin = [i * s - p for i, s, p in zip(box, stride, pad, strict=True)]
        area = math.prod(min(k, e + p - b) for k, e, p, b in zip(kernel, x.shape[2:], pad, begin, strict=True))
        inside = tuple(slice(max(b, 0), max(b + k, 0)) for b, k in zip(begin, kernel, strict=True))
        seen, place = x[n, c][inside], (n, c, *box)
        if pool == "AVE":
            top[place] = seen.sum() / area if seen.size else 0
            bottom_diff[n, c][inside] += diff[place] / area if seen.size else 0
            continue
        top[place] = seen.max() if seen.size else LOWEST
        if seen.size:
            first = np.unravel_index(seen.argmax(), seen.shape)
            bottom_diff[n, c][inside][first] += diff[place]
    return top, bottom_diff


def shape_of(shape, kernel, stride, pad, floor):
    counts = []
    for extent, k, s, p in zip(shape[2:], kernel, stride, pad, strict=True):
        exact = (extent + 2 * p - k) / s
        count = (math.floor(exact) if floor else math.ceil(exact)) + 1
        counts.append(count - 1 if p and (count - 1) * s >= extent + p else count)
    return (*shape[:2], *counts)


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize(("text", "shape", "kernel", "stride", "pad"), CASES)
def test_it_is_its_definition(text, shape, kernel, stride, pad, pool, mode):
    rng = np.random.default_rng(1)
    with running(mode):
        case = build(f'type: "Pooling" pooling_param {{ pool: {pool} {text} }}', [shape])
        case.bottom[0].data[...] = x = rng.integers(0, 5, shape)  # with equal values
        (top,) = case.forward()
        assert top.shape == shape_of(shape, kernel, stride, pad, "FLOOR" in text)
        case.top[0].diff[...] = diff = rng.standard_normal(top.shape).astype(np.float32)
        found = case.backward()[0].copy()
    expected, expected_diff = by_definition(x.astype(np.float64), diff, pool, kernel, stride, pad)
    np.testing.assert_allclose(top, expected, 1e-5, 1e-6)
    np.testing.assert_allclose(found, expected_diff, 1e-4, 1e-5)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("text", ["kernel_size: 2 stride: 2", "global_pooling: true"])
def test_gradient(pool, text):
    rng = np.random.default_rng(2)
    case = build(f'type: "Pooling" pooling_param {{ pool: {pool} {text} }}', [(2, 2, 3, 4, 5)])
    case.bottom[0].data[...] = rng.permutation(240).reshape(2, 2, 3, 4, 5) / 10
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_global_pooling(mode):
    x = np.random.default_rng(3).standard_normal((2, 3, 2, 4, 5)).astype(np.float32)
    with running(mode):
        for pool, whole in (("MAX", np.max), ("AVE", np.mean)):
            case = build(f'type: "Pooling" pooling_param {{ pool: {pool} global_pooling: true }}', [x.shape])
            case.bottom[0].data[...] = x
            (top,) = case.forward()
            assert top.shape == (2, 3, 1, 1, 1)
            np.testing.assert_allclose(top[..., 0, 0, 0], whole(x, axis=(2, 3, 4)), 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("text", "shape", "says"),
    [
        ("kernel_size: 2 pool: STOCHASTIC", (1, 2, 3, 4, 5), "with 5 axes pool: MAX and AVE are there"),
        ("kernel_h: 2 kernel_w: 2", (1, 2, 3, 4, 5), "are for 2 spatial axes, here are 3"),
        ("kernel_shape { dim: 2 }", (1, 2, 3, 4, 5), "kernel_shape has 1 dim, the bottom 3 spatial axes"),
        ("kernel_size: 2 stride: 0", (1, 2, 3, 4, 5), "kernel and stride must be at least 1"),
        ("kernel_size: 2 pad: 2", (1, 2, 3, 4, 5), "pad must be smaller than the kernel"),
        ("kernel_size: 6", (1, 2, 3, 4, 5), "does not fit into the bottom"),
        ("stride: 2", (1, 2, 3, 4, 5), "kernel and stride must be at least 1"),
    ],
)
def test_errors(text, shape, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "Pooling" pooling_param {{ {text} }}', [shape])


def test_a_net_of_c3d(tmp_path):
    (tmp_path / "c3d.prototxt").write_text(
        """input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 8 input_dim: 8
        layers { name: "conv1a" type: CONVOLUTION3D bottom: "data" top: "conv1a" convolution_param {
          num_output: 4 kernel_size: 3 kernel_depth: 3 pad: 1 temporal_pad: 1 weight_filler { type: "xavier" } } }
        layers { name: "relu1a" type: RELU bottom: "conv1a" top: "conv1a" }
        layers { name: "pool1" type: POOLING3D bottom: "conv1a" top: "pool1" pooling_param {
          pool: MAX kernel_size: 2 kernel_depth: 1 stride: 2 temporal_stride: 1 } }
        layers { name: "pool2" type: POOLING3D bottom: "pool1" top: "pool2" pooling_param {
          pool: AVE kernel_size: 2 kernel_depth: 2 stride: 2 temporal_stride: 2 } }
        layers { name: "prob" type: VOXEL_SOFTMAX bottom: "pool2" top: "prob" }"""
    )
    net = caffepy.Net(tmp_path / "c3d.prototxt", caffepy.TEST)
    assert net.params["conv1a"][0].data.shape == (4, 3, 3, 3, 3)
    assert {name: blob.data.shape for name, blob in net.blobs.items()} == {
        "data": (1, 3, 4, 8, 8),
        "conv1a": (1, 4, 4, 8, 8),
        "pool1": (1, 4, 4, 4, 4),
        "pool2": (1, 4, 2, 2, 2),
        "prob": (1, 4, 2, 2, 2),
    }
    net.blobs["data"].data[...] = np.random.default_rng(0).standard_normal((1, 3, 4, 8, 8))
    net.forward()
    x = net.blobs["conv1a"].data
    np.testing.assert_array_equal(net.blobs["pool1"].data, x.reshape(1, 4, 4, 4, 2, 4, 2).max(axis=(4, 6)))
