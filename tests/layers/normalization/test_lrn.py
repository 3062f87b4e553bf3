"""LRN against its definition."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


def by_definition(x, text):
    given = {k: float(v) for k, v in (pair.split(":") for pair in text.replace(": ", ":").split() if "_R" not in pair)}
    size, alpha = int(given.get("local_size", 5)), given.get("alpha", 1.0)
    beta, k = given.get("beta", 0.75), given.get("k", 1.0)
    half = size // 2
    top = np.zeros(x.shape)
    for n, c, h, w in np.ndindex(x.shape):
        if "WITHIN" in text:
            around = x[n, c, max(0, h - half) : h + half + 1, max(0, w - half) : w + half + 1]
            scale = 1 + alpha / size**2 * np.sum(around.astype(np.float64) ** 2)
        else:
            around = x[n, max(0, c - half) : c + half + 1, h, w]
            scale = k + alpha / size * np.sum(around.astype(np.float64) ** 2)
        top[n, c, h, w] = x[n, c, h, w] / scale**beta
    return top


@pytest.mark.parametrize("shape", [(2, 7, 3, 4), (1, 1, 2, 2), (3, 2, 1, 5)])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "local_size: 1 alpha: 2",
        "local_size: 3 alpha: 1.5 beta: 0.5 k: 2",
        "local_size: 9 alpha: 0.7",
        "norm_region: WITHIN_CHANNEL",
        "norm_region: WITHIN_CHANNEL local_size: 3 alpha: 2 beta: 1.5 k: 7",
        "norm_region: WITHIN_CHANNEL local_size: 1",
    ],
)
def test_it_is_its_definition(shape, text):
    case = build(f'type: "LRN" lrn_param {{ {text} }}', [shape])
    rng = np.random.default_rng(0)
    fill(case, rng)
    np.testing.assert_allclose(
        case.forward()[0], by_definition(case.bottom[0].data, text.replace("norm_region: ", "_R")), 1e-5, 1e-6
    )
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_reshape():
    case = build('type: "LRN"', [(1, 3, 2, 2)])
    case.reshape((2, 6, 3, 3))
    fill(case, np.random.default_rng(1))
    np.testing.assert_allclose(case.forward()[0], by_definition(case.bottom[0].data, ""), 1e-5, 1e-6)


def test_errors():
    with pytest.raises(
        LayerError, match=r"layer 'layer' .LRN.: local_size must be odd, so that it has a centre, got 4"
    ):
        build('type: "LRN" lrn_param { local_size: 4 }', [(1, 3, 2, 2)])
    with pytest.raises(LayerError, match=r"bottom 'bottom0' must have 4 axes, got shape \(2, 3\)"):
        build('type: "LRN"', [(2, 3)])
