"""R-FCN's losses per region and its hard examples, from their definitions."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 2, 5)])
def test_softmax_losses(shape):
    text = 'type: "SoftmaxWithLossOHEM" top: "loss" top: "prob" top: "losses" loss_param { ignore_label: 2 }'
    labels = (shape[0], *shape[2:])
    case = build(text, [shape, labels])
    rng = np.random.default_rng(0)
    case.bottom[0].data[...], case.bottom[1].data[...] = rng.standard_normal(shape), rng.integers(0, 4, labels)
    x, label = case.bottom[0].data.astype(np.float64), case.bottom[1].data.astype(int)
    prob = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    each = -np.log(np.take_along_axis(prob, label[:, None], axis=1)[:, 0]) * (label != 2)
    loss, found, losses = case.forward()
    np.testing.assert_allclose(losses, each, 1e-5, 1e-6)
    np.testing.assert_allclose(loss, each.sum() / (label != 2).sum(), 1e-5)
    np.testing.assert_allclose(found, prob, 1e-5)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("param", "divisor"),
    [
        ("", 15),
        ("normalization: FULL", 15),
        ("normalization: BATCH_SIZE", 3),
        ("normalization: NONE", 1),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 128", 128),
        ("normalize: false", 3),
    ],
)
@pytest.mark.parametrize("bottoms", [2, 3])
def test_smooth_l1_losses(bottoms, param, divisor):
    shape = (3, 4, 5)
    case = build(f'type: "SmoothL1LossOHEM" top: "loss" top: "losses" loss_param {{ {param} }}', [shape] * bottoms)
    rng = np.random.default_rng(0)
    for blob in case.bottom:
        blob.data[...] = 2 * rng.standard_normal(shape)
    x = case.bottom[0].data.astype(np.float64) - case.bottom[1].data
    x *= case.bottom[2].data if bottoms == 3 else 1
    each = np.where(np.abs(x) < 1, x * x / 2, np.abs(x) - 0.5).sum(axis=1, keepdims=True)
    loss, losses = case.forward()
    assert losses.shape == (3, 1, 5)
    np.testing.assert_allclose(losses, each, 1e-5, 1e-6)
    np.testing.assert_allclose(loss, each.sum() / divisor, 1e-5)
    check_gradient(case, 0, rng)
    check_gradient(case, 1, rng)


def test_hard_examples():
    text = 'type: "BoxAnnotatorOHEM" top: "labels" top: "weights" box_annotator_ohem_param { roi_per_img: 2 }'
    case = build(text, [(6, 5), (6, 1), (6,), (6, 8, 1, 1)])
    rois, losses, labels, weights = case.bottom
    rois.data[:, 0], losses.data[:, 0] = [0, 1, 0, 1, 0, 0], [3, 1, 5, 1, 4, 5]
    labels.data[...], weights.data[...] = [1, 2, 3, 4, 5, 6], 1
    kept = [False, True, True, True, False, True]
    got, scaled = case.forward()
    assert got.tolist() == [-1, 2, 3, 4, -1, 6]
    assert (scaled == np.reshape(kept, (6, 1, 1, 1))).all()
    assert not any(case.layer.differentiable(i) for i in range(4))


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ('type: "SmoothL1LossOHEM"', [(3,), (3,)], "must have 2 axes at least, got shape"),
        (
            'type: "SmoothL1LossOHEM" loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 1.5 }',
            [(3, 2), (3, 2)],
            "pre_fixed_normalizer: 1.5 must be a whole number above 0",
        ),
        ('type: "BoxAnnotatorOHEM" top: "a" top: "b"', [(2, 5), (2,), (2,), (2, 8)], "give roi_per_img"),
        (
            'type: "BoxAnnotatorOHEM" top: "a" top: "b" box_annotator_ohem_param { roi_per_img: 1 }',
            [(2, 5), (2,), (3,), (2, 8)],
            "there are 2 regions; give as many losses, labels and weights",
        ),
        (
            'type: "BoxAnnotatorOHEM" top: "a" top: "b" box_annotator_ohem_param { roi_per_img: 1 }',
            [(2, 4), (2,), (2,), (2, 8)],
            "bottom 0 must have 5 numbers for each region",
        ),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(text, shapes)
