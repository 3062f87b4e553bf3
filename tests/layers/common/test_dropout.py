"""Dropout: the mask's distribution, its repetition by seed, and the identity at test time."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from caffepy.rng import set_random_seed
from tests.gpu_mode import REAL, running
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize("ratio", [0, 0.3, 0.5, 0.9])
def test_training_keeps_the_right_share_and_scales_it(ratio):
    set_random_seed(5)
    case = build(f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', [(100, 1000)], TRAIN)
    case.bottom[0].data[...] = 3
    (top,) = case.forward()
    kept = top != 0
    np.testing.assert_allclose(top[kept], 3 / (1 - ratio), 1e-6)
    deviation = (ratio * (1 - ratio) / top.size) ** 0.5
    assert abs(kept.mean() - (1 - ratio)) <= 4 * deviation
    between_neighbours = np.corrcoef(kept[:, :-1].reshape(-1), kept[:, 1:].reshape(-1))[0, 1] if ratio else 0
    assert abs(between_neighbours) < 4 / top.size**0.5


@pytest.mark.parametrize("names", ['bottom: "x" top: "y"', 'bottom: "x" top: "x"'])
def test_training_backward_uses_the_same_mask(names):
    set_random_seed(6)
    case = build(f'type: "Dropout" {names}', [(50, 7)], TRAIN)
    case.bottom[0].data[...] = 1
    mask = case.forward()[0].copy()
    case.top[0].diff[...] = np.arange(350).reshape(50, 7)
    np.testing.assert_array_equal(case.backward()[0], np.arange(350).reshape(50, 7) * mask)


def test_masks_repeat_with_the_seed_and_differ_from_pass_to_pass():
    case = build('type: "Dropout"', [(64,)], TRAIN)
    case.bottom[0].data[...] = 1

    def three_passes():
        set_random_seed(7)
        return [case.forward()[0].copy() for _ in range(3)]

    first, again = three_passes(), three_passes()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])


@pytest.mark.parametrize("names", ['bottom: "x" top: "y"', 'bottom: "x" top: "x"'])
def test_at_test_time_it_is_the_identity(names):
    rng = np.random.default_rng(8)
    case = build(f'type: "Dropout" {names}', [(4, 5)], TEST)
    fill(case, rng)
    data = case.bottom[0].data.copy()
    np.testing.assert_array_equal(case.forward()[0], data)
    case.top[0].diff[...] = diff = rng.standard_normal((4, 5)).astype(np.float32)
    np.testing.assert_array_equal(case.backward()[0], diff)


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
@pytest.mark.parametrize("names", ['bottom: "x" top: "y"', 'bottom: "x" top: "x"'])
def test_faster_rcnn_scales_when_testing(mode, names):
    text = f'type: "Dropout" {names} dropout_param {{ dropout_ratio: 0.75 scale_train: false }}'
    rng = np.random.default_rng(12)
    with running(mode):
        case = build(text, [(40, 50)], TEST)
        fill(case, rng)
        data = case.bottom[0].data.copy()
        np.testing.assert_array_equal(case.forward()[0], data / 4)
        case.top[0].diff[...] = data
        np.testing.assert_array_equal(case.backward()[0], data / 4)
        case = build(text, [(40, 50)], TRAIN)
        fill(case, rng)
        data = case.bottom[0].data.copy()
        (top,) = case.forward()
        kept = top != 0
        np.testing.assert_array_equal(top[kept], data[kept])
        assert abs(kept.mean() - 0.25) < 4 * (0.25 * 0.75 / top.size) ** 0.5
        case.top[0].diff[...] = 3
        np.testing.assert_array_equal(case.backward()[0], 3 * kept)


def test_samples_of_weights_are_drawn_when_testing_too():
    set_random_seed(11)
    case = build('type: "Dropout" dropout_param { sample_weights_test: true }', [(1000,)], TEST)
    case.bottom[0].data[...] = 1
    (top,) = case.forward()
    assert set(np.unique(top)) == {0, 2}


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("scale_train", ["true", "false"])
def test_gradient(phase, scale_train):
    rng = np.random.default_rng(9)
    text = f'type: "Dropout" dropout_param {{ dropout_ratio: 0.4 scale_train: {scale_train} }}'
    case = build(text, [(2, 3, 4)], phase)
    fill(case, rng)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("ratio", [-0.1, 1, 2])
def test_ratio_must_leave_something(ratio):
    with pytest.raises(LayerError, match=r"layer 'layer' \(Dropout\): dropout_ratio: .* at least 0 and below 1"):
        build(f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', [(2,)], TRAIN)
    if ratio == 1:  # a net for testing may say so
        build(f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', [(2,)], TEST)


def test_masks_are_caffes_own_with_a_seed():
    """One output of MT19937 an element, in order; kept where it is at most (1 - ratio) (2^32 - 1)."""
    case = build('type: "Dropout" dropout_param { dropout_ratio: 0.3 }', [(4, 25)], TRAIN)
    case.bottom[0].data[...] = 1
    set_random_seed(21)
    outputs = np.frombuffer(np.random.RandomState(21).bytes(800), "<u4")
    ratio = float(np.float32(0.3))
    for drawn in (outputs[:100], outputs[100:]):
        kept = drawn <= (1 - ratio) * (2**32 - 1)
        np.testing.assert_allclose(case.forward()[0].ravel(), kept / (1 - ratio), 1e-6)
