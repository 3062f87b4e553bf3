"""Insanity against its definition and distribution."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.layers.runner import build, check_gradient, check_manners


def away_from_zero(case, rng):
    case.bottom[0].data[...] = rng.choice([-1, 1], case.bottom[0].shape) * rng.uniform(0.1, 2, case.bottom[0].shape)


@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_insanity(phase, place):
    case = build('type: "Insanity" insanity_param { lb: 3 ub: 5 }' + place, [(300, 400)], phase)
    rng = np.random.default_rng(0)
    away_from_zero(case, rng)
    x = case.bottom[0].data.copy()
    (top,) = case.forward()
    np.testing.assert_array_equal(top[x > 0], x[x > 0])
    slopes = x[x < 0] / top[x < 0]
    if phase == TRAIN:
        assert 3 - 1e-4 <= slopes.min() < 3.01
        assert 4.99 < slopes.max() < 5 + 1e-4
        assert abs(slopes.mean() - 4) < 1e-2
    else:
        np.testing.assert_allclose(slopes, 2 / np.log(5 / 3), 1e-5)
    case.bottom[0].data[...] = x
    check_gradient(case, 0, rng, tolerance=1e-2)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('type: "Insanity" insanity_param { lb: 5 ub: 5 }', "lb: 5 must be above 0 and below ub: 5"),
    ],
)
def test_errors(text, says):
    with pytest.raises(LayerError, match=says):
        build(text, [(2, 3)])
