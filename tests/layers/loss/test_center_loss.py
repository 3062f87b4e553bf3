"""CenterLoss, item by item from its definition."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.proto.caffe_pb2 import TRAIN
from tests.gpu_mode import REAL, running
from tests.layers.runner import build, check_gradient, check_manners, fill

TEXT = 'type: "CenterLoss" center_loss_param { num_output: 4 center_filler { type: "gaussian" } }'


def make(shape=(7, 2, 3)):
    case = build(TEXT, [shape, shape[:1]], TRAIN)
    rng = np.random.default_rng(1)
    fill(case, rng)
    case.bottom[1].data[...] = np.array([0, 1, 1, 3, 3, 3, 0])[: shape[0]]
    return case, rng


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_loss_and_diffs(mode):
    with running(mode):
        case, _ = make()
        (loss,) = case.forward()
        x, centers = case.bottom[0].data.reshape(7, 6), case.weights[0].data
        labels = case.bottom[1].data.astype(int)
        away = [x[n] - centers[labels[n]] for n in range(7)]
        np.testing.assert_allclose(loss, sum(float(d @ d) for d in away) / 14, 1e-5)
        case.top[0].diff[...] = 0.5
        case.weights[0].diff[...] = 2
        found = case.backward()[0].reshape(7, 6)
        np.testing.assert_allclose(found, 0.5 * np.array(away) / 7, 1e-5, 1e-6)
        for k in range(4):
            members = [d for d, label in zip(away, labels, strict=True) if label == k]
            expected = 2 - sum(members, np.zeros(6)) / (1 + len(members))
            np.testing.assert_allclose(case.weights[0].diff[k], expected, 1e-4, 1e-5)


def test_gradient_and_manners():
    case, rng = make()
    check_gradient(case, 0, rng)
    check_manners(case, rng)
    assert [case.layer.differentiable(i) for i in range(2)] == [True, False]


@pytest.mark.parametrize("label", [-1, 4, np.nan])
def test_labels_are_checked(label):
    case, _ = make()
    case.bottom[1].data[2] = label
    with pytest.raises(LayerError, match=r"at \(2,\) of bottom 'bottom1' is not one of the 4 classes"):
        case.forward()


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "num_output must be at least 1"), ("num_output: 3 axis: 2", "axis: 2 must be 1")],
)
def test_errors(text, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "CenterLoss" center_loss_param {{ {text} }}', [(2, 3, 4), (2,)])


def test_items_keep_their_size():
    case, _ = make()
    with pytest.raises(LayerError, match="has 8 values an item, not 6"):
        case.reshape((7, 2, 4), (7,))
