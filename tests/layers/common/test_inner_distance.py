"""InnerDistance against its definition."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill

POINTS = 'type: "InnerDistance" inner_distance_param { num_output: 3 bias_filler { value: 2 } distance_type: '


@pytest.mark.parametrize(("kind", "power"), [("L1", 1), ("L2", 2)])
def test_inner_distance(kind, power):
    case = build(f'{POINTS} "{kind}" }}', [(4, 5, 2)])
    assert [blob.shape for blob in case.weights] == [(3, 10), (3,)]
    assert case.weights[1].data.tolist() == [2, 2, 2]
    rng = np.random.default_rng(0)
    fill(case, rng)
    case.bottom[0].data[...] = rng.permutation(40).reshape(4, 5, 2) * 0.25 - 5  # no two values near each other
    case.weights[0].data[...] = rng.permutation(30).reshape(3, 10) * 0.25 - 3.9
    x, (weight, bias) = case.bottom[0].data.reshape(4, 10), (blob.data for blob in case.weights)
    expected = [[sum(abs(a - b) ** power for a, b in zip(m, o, strict=True)) for o in weight] for m in x] + bias
    np.testing.assert_allclose(case.forward()[0], expected, 1e-5)
    for where in (0, ("param", 0), ("param", 1)):
        check_gradient(case, where, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("num_output: 0", "num_output must be at least 1, got 0"),
        ('num_output: 1 distance_type: "L3"', "distance_type: 'L3' must be 'L1' or 'L2'"),
    ],
)
def test_inner_distance_says(text, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "InnerDistance" inner_distance_param {{ {text} }}', [(2, 3)])


def test_inner_distance_to_points_of_another_size():
    case = build(f'{POINTS} "L2" }}', [(4, 5)])
    with pytest.raises(LayerError, match=r"has shape \(4, 6\); the weights \(3, 5\) need 5 values behind"):
        case.reshape((4, 6))
