"""Reduction against sums written out."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill

OPERATIONS = {
    "SUM": lambda row: sum(row),
    "ASUM": lambda row: sum(abs(x) for x in row),
    "SUMSQ": lambda row: sum(x * x for x in row),
    "MEAN": lambda row: sum(row) / len(row),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4), -1), ((5,), 0), ((), 0)])
def test_rows_become_one_number(shape, axis, operation):
    rng = np.random.default_rng(1)
    case = build(f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: -1.5 }}', [shape])
    fill(case, rng)
    kept = shape[: axis % len(shape)] if shape else ()
    rows = case.bottom[0].data.astype(float).reshape(int(np.prod(kept)), -1)
    expected = np.array([-1.5 * OPERATIONS[operation](row) for row in rows]).reshape(kept)
    np.testing.assert_allclose(case.forward()[0], expected, 1e-5, 1e-6)
    check_gradient(case, 0, rng, skip=abs(case.bottom[0].data) < 0.05)
    check_manners(case, rng)


def test_a_zero_has_no_size_to_lose_or_gain():
    case = build('type: "Reduction" reduction_param { operation: ASUM }', [(3,)])
    case.bottom[0].data[...] = [-2, 0, 2]
    case.forward()
    case.top[0].diff[...] = 3
    assert case.backward()[0].tolist() == [-3, 0, 3]


def test_nothing_sums_to_zero():
    for operation in OPERATIONS:
        case = build(f'type: "Reduction" reduction_param {{ operation: {operation} axis: 1 }}', [(2, 0)])
        assert case.forward()[0].tolist() == [0, 0]


def test_long_sums_keep_their_digits():
    case = build("type: 'Reduction'", [(1 << 20,)])
    case.bottom[0].data[...] = 0.1
    np.testing.assert_allclose(case.forward()[0], (1 << 20) * float(np.float32(0.1)), 1e-6)


@pytest.mark.parametrize(("text", "reads"), [("SUM", ()), ("MEAN", ()), ("ASUM", ("bottom",)), ("SUMSQ", ("bottom",))])
def test_reads(text, reads):
    assert build(f'type: "Reduction" reduction_param {{ operation: {text} }}', [(2,)]).layer.reads == reads


def test_axis_outside():
    with pytest.raises(LayerError, match=r"axis: 2 is outside bottom 0, whose shape is \(2, 3\)"):
        build('type: "Reduction" reduction_param { axis: 2 }', [(2, 3)])
