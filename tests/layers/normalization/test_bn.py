"""BN against its definitions, SegNet's and PSPNet's."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.layers.runner import build, check_gradient, check_manners, fill

SEGNET = 'type: "BN" bn_param { scale_filler { value: 2 } shift_filler { value: 0.5 } }'


AFFINE = 'type: "BN" bn_param { bn_mode: INFERENCE }'


PSPNET = 'type: "BN" bn_param { slope_filler { value: 2 } momentum: 0.75 eps: 0.01 }'


FROZEN = 'type: "BN" bn_param { frozen: true eps: 0.01 }'


def by_definition(x, weights, text, phase):
    axes = 0, *range(2, x.ndim)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    weights = [w.reshape(shape).astype(np.float64) for w in weights]
    if text == AFFINE:
        return x * weights[0] + weights[1]
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    if text == FROZEN or (text == PSPNET and phase == TEST):
        mean, variance = weights[2:]
    return (x - mean) / np.sqrt(variance + (1e-9 if text == SEGNET else 0.01)) * weights[0] + weights[1]


@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("text", [SEGNET, AFFINE, PSPNET, FROZEN])
@pytest.mark.parametrize("shape", [(3, 2, 4, 3), (6, 3)])
def test_bn(shape, text, phase, place):
    case = build(text + place, [shape], phase)
    assert [blob.shape for blob in case.weights] == [(1, shape[1], 1, 1)] * (4 if text in (PSPNET, FROZEN) else 2)
    rng = np.random.default_rng(0)
    fill(case, rng)
    for blob in case.weights[3:]:
        blob.data[...] = 0.5 + blob.data**2
    weights = [blob.data.copy() for blob in case.weights]
    x = case.bottom[0].data.astype(np.float64)
    np.testing.assert_allclose(case.forward()[0], by_definition(x, weights, text, phase), 1e-4, 1e-4)
    if text == PSPNET and phase == TRAIN:
        batch = x.mean(axis=(0, *range(2, x.ndim))), x.var(axis=(0, *range(2, x.ndim)))
        for stored, old, new in zip(case.weights[2:], weights[2:], batch, strict=True):
            np.testing.assert_allclose(stored.data.ravel(), 0.75 * old.ravel() + 0.25 * new, 1e-5)
    else:
        assert all(np.array_equal(blob.data, old) for blob, old in zip(case.weights, weights, strict=True))
    case.bottom[0].data[...] = x
    check_gradient(case, 0, rng, tolerance=1e-2)
    if text != FROZEN:
        check_gradient(case, ("param", 0), rng)
        check_gradient(case, ("param", 1), rng)
    check_manners(case, rng)


def test_the_batchs_statistics_are_tops():
    case = build(SEGNET + 'bottom: "x" top: "y" top: "mean" top: "variance"', [(3, 2, 4)])
    fill(case, np.random.default_rng(0))
    _, mean, variance = case.forward()
    x = case.bottom[0].data
    np.testing.assert_allclose(mean, x.mean(axis=(0, 2)).reshape(1, 2, 1, 1), 1e-5, 1e-6)
    np.testing.assert_allclose(variance, x.var(axis=(0, 2)).reshape(1, 2, 1, 1), 1e-5)


def test_channels_must_stay():
    case = build(SEGNET, [(2, 3, 4)])
    with pytest.raises(LayerError, match=r"bottom shape \(2, 5, 4\) must keep the 3 channels of the scale"):
        case.reshape((2, 5, 4))
