"""MVN against means and variances written out."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize("names", ['bottom: "x" top: "y"', 'bottom: "x" top: "x"'])
@pytest.mark.parametrize("normalize_variance", ["true", "false"])
@pytest.mark.parametrize("across_channels", ["true", "false"])
@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (2, 3, 300, 1)])
def test_rows_are_normalized(shape, across_channels, normalize_variance, names):
    rng = np.random.default_rng(1)
    text = f"across_channels: {across_channels} normalize_variance: {normalize_variance} eps: 1e-6"
    case = build(f'type: "MVN" {names} mvn_param {{ {text} }}', [shape])
    fill(case, rng)
    case.bottom[0].data[...] *= 3
    case.bottom[0].data[...] += 5
    rows = case.bottom[0].data.astype(float).reshape(shape[0] * (1 if across_channels == "true" else shape[1]), -1)
    expected = [
        (row - row.mean()) / (np.sqrt(((row - row.mean()) ** 2).mean()) + 1e-6 if normalize_variance == "true" else 1)
        for row in rows
    ]
    values = case.bottom[0].data.copy()
    np.testing.assert_allclose(case.forward()[0].reshape(rows.shape), expected, 1e-4, 1e-5)
    case.bottom[0].data[...] = values
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_eps_is_added_to_the_deviation_and_not_to_the_variance():
    case = build('type: "MVN" mvn_param { eps: 1 }', [(1, 1, 1, 2)])
    case.bottom[0].data[...] = [0, 6]
    assert case.forward()[0].tolist() == [[[[-0.75, 0.75]]]]


def test_equal_values_become_zeros():
    case = build('type: "MVN"', [(1, 2, 3, 3)])
    case.bottom[0].data[...] = 2
    assert (case.forward()[0] == 0).all()


@pytest.mark.parametrize(("shape", "top"), [((2, 3), (2, 3, 1, 1)), ((2, 3, 4), (2, 3, 4, 1)), ((5,), (5, 1, 1, 1))])
def test_top_has_four_axes(shape, top):
    assert build('type: "MVN" mvn_param { across_channels: true }', [shape]).top[0].shape == top


def test_five_axes_are_too_many():
    with pytest.raises(LayerError, match=r"must have 4 axes at most, got shape \(1, 1, 1, 1, 1\)"):
        build('type: "MVN"', [(1,) * 5])


@pytest.mark.parametrize(("text", "reads"), [("true", ("top",)), ("false", ())])
def test_reads(text, reads):
    assert build(f'type: "MVN" mvn_param {{ normalize_variance: {text} }}', [(1, 1, 2, 2)]).layer.reads == reads
