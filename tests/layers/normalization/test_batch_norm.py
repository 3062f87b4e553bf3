"""BatchNorm against Ioffe & Szegedy's definition in float64, and Caffe's running sums."""

import numpy as np
import pytest

import caffepy
from caffepy.errors import LayerError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, TRAIN, NetParameter
from caffepy.proto.caffemodel import write_weights
from tests.gpu_mode import REAL, running
from tests.layers.runner import build, check_gradient, check_manners, fill

SHAPES = [(4, 3, 5, 2), (6, 5), (7,), (1, 2, 9), (2, 3, 2, 2, 2), (5, 70, 30, 31)]
PLACES = ['bottom: "x" top: "y"', 'bottom: "x" top: "x"']


def channels_first(x):
    """(channels, everything else) of a blob; one with a single axis is one channel."""
    return x.reshape(1, -1) if x.ndim == 1 else np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


def make(text, shape, phase, names=PLACES[0], seed=1):
    rng = np.random.default_rng(seed)
    case = build(f'type: "BatchNorm" {names} batch_norm_param {{ {text} }}', [shape], phase)
    fill(case, rng)
    case.bottom[0].data[...] += 3
    case.weights[1].data[...] = rng.uniform(0.5, 2, case.weights[1].shape)
    case.weights[2].data[...] = 2.5
    return case, rng


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("names", PLACES)
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_training_normalizes_by_the_batch_and_gathers_sums(shape, names, eps):
    case, _ = make(f"eps: {eps} moving_average_fraction: 0.9", shape, TRAIN, names)
    x = channels_first(case.bottom[0].data.astype(np.float64))
    sums = [w.data.copy() for w in case.weights]
    (top,) = case.forward()
    expected = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + eps)
    np.testing.assert_allclose(channels_first(top), expected, 1e-4, 1e-5)
    m = x.shape[1]
    np.testing.assert_allclose(case.weights[0].data, 0.9 * sums[0] + x.mean(axis=1), 1e-5)
    np.testing.assert_allclose(case.weights[1].data, 0.9 * sums[1] + x.var(axis=1) * m / (m - 1), 1e-4)
    np.testing.assert_allclose(case.weights[2].data, [0.9 * 2.5 + 1], 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("names", PLACES)
def test_global_statistics_are_sums_over_their_weight(shape, names):
    case, _ = make("eps: 0.01", shape, TEST, names)
    x = channels_first(case.bottom[0].data.astype(np.float64))
    sums = [w.data.copy() for w in case.weights]
    mean, variance = sums[0][:, None] / 2.5, sums[1][:, None] / 2.5
    (top,) = case.forward()
    np.testing.assert_allclose(channels_first(top), (x - mean) / np.sqrt(variance + 0.01), 1e-4, 1e-5)
    for weight, before in zip(case.weights, sums, strict=True):
        np.testing.assert_array_equal(weight.data, before)


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
def test_eps_may_be_added_to_the_deviation(mode):
    with running(mode):
        case, rng = make("eps: 0.5 add_eps_before_sqrt: false", (4, 3, 5, 2), TEST)
        x = channels_first(case.bottom[0].data.astype(np.float64))
        mean, variance = (case.weights[j].data[:, None] / 2.5 for j in range(2))
        (top,) = case.forward()
        np.testing.assert_allclose(channels_first(top), (x - mean) / (np.sqrt(variance) + 0.5), 1e-4, 1e-5)
    check_gradient(case, 0, rng)
    with pytest.raises(LayerError, match="add_eps_before_sqrt: false is there for use_global_stats: true only"):
        make("add_eps_before_sqrt: false", (4, 3), TRAIN)


@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (6, 5), (7,), (2, 3, 2, 2, 2)])
@pytest.mark.parametrize("names", PLACES)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_gradient(shape, names, phase):
    case, rng = make("eps: 0.01", shape, phase, names)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "phase", "by_batch"),
    [
        ("", TRAIN, True),
        ("", TEST, False),
        ("use_global_stats: true", TRAIN, False),
        ("use_global_stats: false", TEST, True),
    ],
)
def test_the_phase_decides_unless_told(text, phase, by_batch):
    case, _ = make(text, (50, 2), phase)
    case.weights[0].data[...] = 1000
    assert (abs(case.forward()[0].mean()) < 1) == by_batch


def test_backward_stands_when_a_later_layer_writes_over_the_top():
    for phase in (TRAIN, TEST):
        case, rng = make("", (4, 3), phase, PLACES[1])
        case.forward()
        diff = rng.standard_normal((4, 3))
        case.top[0].diff[...] = diff
        expected = case.backward()[0].copy()
        case.top[0].data[...] = 9
        case.top[0].diff[...] = diff
        np.testing.assert_array_equal(case.backward()[0], expected)


def test_empty_sums_divide_by_the_root_of_eps():
    case = build('type: "BatchNorm" batch_norm_param { eps: 0.25 }', [(2, 3)], TEST)
    case.bottom[0].data[...] = 3
    for weight in case.weights[:2]:
        weight.data[...] = 100  # counts for nothing: their weight is 0
    assert (case.forward()[0] == 6).all()


def test_one_value_per_channel_needs_no_correction():
    case, _ = make("moving_average_fraction: 0", (1, 3), TRAIN)
    case.forward()
    np.testing.assert_array_equal(case.weights[1].data, 0)
    assert (case.top[0].data == 0).all()


def test_large_mean_does_not_drown_the_variance():
    case = build('type: "BatchNorm"', [(100, 1)], TRAIN)
    x = 1000 + np.random.default_rng(2).standard_normal((100, 1)).astype(np.float32)
    case.bottom[0].data[...] = x
    expected = (x - x.mean(dtype=np.float64)) / x.std(dtype=np.float64)
    np.testing.assert_allclose(case.forward()[0], expected, 1e-3, 1e-3)


def test_statistics_are_weights_that_are_not_learned():
    case, rng = make("", (2, 3, 4), TRAIN)
    assert [w.shape for w in case.weights] == [(3,), (3,), (1,)]
    for weight in case.weights:
        weight.diff[...] = 7
    case.forward()
    case.top[0].diff[...] = rng.standard_normal((2, 3, 4))
    case.backward()
    assert all((weight.diff == 7).all() for weight in case.weights)
    build('type: "BatchNorm" param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 }', [(2, 3)])


SCALED = ["scale_bias: true", "scale_filler { value: 2 }", "bias_filler { value: 2 }", "bias_term: true"]


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (6, 5), (7,), (2, 3, 2, 2, 2)])
@pytest.mark.parametrize("names", PLACES)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_scale_and_bias(shape, names, phase, mode):
    with running(mode):
        case, _ = make("scale_bias: true eps: 0.01", shape, phase, names)
        x = channels_first(case.bottom[0].data.astype(np.float64))
        mean, variance, factor, scale, bias = (w.data.astype(np.float64)[:, None] for w in case.weights)
        mean, variance = mean / factor, variance / factor
        if phase == TRAIN:
            mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
        (top,) = case.forward()
        expected = (x - mean) / np.sqrt(variance + 0.01) * scale + bias
        np.testing.assert_allclose(channels_first(top), expected, 1e-4, 1e-4)


@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (6, 5), (7,)])
@pytest.mark.parametrize("names", PLACES)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_gradient_of_scale_and_bias(shape, names, phase, mode):
    with running(mode):
        case, rng = make("scale_bias: true eps: 0.01", shape, phase, names)
        check_manners(case, rng)
        for where in (0, ("param", 3), ("param", 4)):
            check_gradient(case, where, rng)


@pytest.mark.parametrize("text", SCALED)
def test_what_asks_for_scale_and_bias(text):
    case = build(f'type: "BatchNorm" param {{ lr_mult: 0 }} batch_norm_param {{ {text} }}', [(2, 3)])
    assert [w.shape for w in case.weights] == [(3,), (3,), (1,), (3,), (3,)]
    assert [w.data[0] for w in case.weights[3:]] == [1 + text.startswith("scale_f"), 2 * text.startswith("bias_f")]


NVCAFFE = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 1 dim: 1 } } }
    layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { eps: 0.0001 %s } }"""


def of_nvcaffe(tmp_path, factor, *scale):
    """A caffemodel with statistics of 2 and 4, and 8 and 16."""
    blobs = [np.array(blob, np.float32).reshape(1, 2, 1, 1) for blob in ([2, 4], [8, 16], *scale)]
    blobs.insert(2, np.array([factor], np.float32))
    path = tmp_path / "weights.caffemodel"
    net = prototxt.parse('layer { name: "bn" type: "BatchNorm" }', NetParameter)
    write_weights(path, net, {"bn": blobs})
    return path


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
@pytest.mark.parametrize("text", ["scale_bias: true", ""])
@pytest.mark.parametrize("factor", [0, 1])
def test_weights_of_nvcaffe(tmp_path, caplog, mode, text, factor):
    weights, model = of_nvcaffe(tmp_path, factor, [1, 2], [3, 4]), tmp_path / "net.prototxt"
    model.write_text(NVCAFFE % text)
    with running(mode), caplog.at_level("INFO", "caffepy"):
        net = caffepy.Net(model, TEST)
        for _ in range(3):  # captured on a GPU
            net.blobs["x"].data[...] = 3
            net.forward()
        net.copy_from(weights)
        net.blobs["x"].data[...] = 3
        np.testing.assert_allclose(net.forward()["y"].ravel(), [3.35355, 3.5], 1e-5)
        assert [blob.data.tolist() for blob in net.params["bn"]] == [[2, 4], [8, 16], [1], [1, 2], [3, 4]]
    assert ("taken as they are" in caplog.text) == (factor == 0)
    assert ("the file has a scale and a bias" in caplog.text) == (not text)


def test_a_factor_of_zero_is_nvcaffes_without_a_scale_too(tmp_path):
    (tmp_path / "net.prototxt").write_text(NVCAFFE % "")
    net = caffepy.Net(tmp_path / "net.prototxt", TEST, weights=of_nvcaffe(tmp_path, 0))
    net.blobs["x"].data[...] = 3
    np.testing.assert_allclose(net.forward()["y"].ravel(), [1 / 8.0001**0.5, -1 / 16.0001**0.5], 1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("param { lr_mult: 1 }", "param 0: lr_mult is 1; the statistics are not learned, give 0"),
        ("param { lr_mult: 0 } param { name: 'shared' }", "param 1: lr_mult is 1"),
    ],
)
def test_errors(text, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "BatchNorm" {text}', [(2, 3)])


def test_channels_may_not_change():
    case = build('type: "BatchNorm"', [(2, 3, 4)])
    case.reshape((5, 3, 9))
    with pytest.raises(LayerError, match=r"bottom shape \(2, 4\) has 4 channels, the statistics 3"):
        case.reshape((2, 4))
