"""What the tests of losses share."""

import numpy as np

from tests.layers.runner import build, check_gradient, check_manners


def case_of(text, shapes, values):
    case = build(text, shapes)
    for blob, value in zip(case.bottom, values, strict=True):
        blob.data[...] = value
    return case


def check(case, expected, *, bottoms=(0,), step=1e-2):
    """The loss is the expected one, its derivatives are, and bottoms without one are left alone."""
    rng = np.random.default_rng(1)
    (loss,) = case.forward()
    assert loss.shape == ()
    np.testing.assert_allclose(loss, expected, 1e-5, 1e-6)
    for bottom in range(len(case.bottom)):
        assert case.layer.differentiable(bottom) == (bottom in bottoms)
    for bottom in bottoms:
        check_gradient(case, bottom, rng, step=step)
    check_manners(case, rng)
