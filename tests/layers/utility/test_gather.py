"""BatchReindex and Filter against indexing."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.gpu_mode import REAL, downloaded, running
from tests.layers.runner import build, check_gradient, check_manners, fill
from tests.nets import make, noise


@pytest.mark.parametrize("places", [[2, 0, 0, 3, 2, 2], [1], []])
@pytest.mark.parametrize("shape", [(4, 3, 2), (4,)])
def test_rows_by_number(shape, places):
    rng = np.random.default_rng(1)
    case = build('type: "BatchReindex"', [shape, (len(places),)])
    fill(case, rng)
    case.bottom[1].data[...] = np.add(places, 0.75)  # of which the whole part counts
    np.testing.assert_array_equal(case.forward()[0], case.bottom[0].data[np.array(places, int)])
    assert not case.layer.differentiable(1)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_a_row_gets_the_diffs_of_all_its_copies():
    case = build('type: "BatchReindex"', [(3,), (5,)])
    case.bottom[1].data[...] = [2, 0, 2, 0, 2]
    case.forward()
    case.top[0].diff[...] = [1, 10, 100, 1000, 10000]
    assert case.backward()[0].tolist() == [1010, 0, 10101]


@pytest.mark.parametrize(("bad", "at"), [(4, 2), (-1, 0), (np.nan, 1)])
def test_a_place_outside_is_told(bad, at):
    case = build('type: "BatchReindex"', [(4, 2), (3,)])
    case.bottom[1].data[at] = bad
    with pytest.raises(
        LayerError, match=rf"place {bad} at \({at},\) of bottom 'bottom1' is not one of the 4 rows 0 to 3"
    ):
        case.forward()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4, 2), (3, 1)], r"bottom 'bottom1' must have 1 axes, got shape \(3, 1\)"),
        ([(), (3,)], r"bottom 'bottom0' must have 1 axis at least, got shape \(\)"),
    ],
)
def test_messages(shapes, message):
    with pytest.raises(LayerError, match=message):
        build('type: "BatchReindex"', shapes)


FILTERED = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 5 dim: 3 } } }
layer { name: "n" type: "Input" top: "n" input_param { shape { dim: 5 } } }
layer { name: "sel" type: "Input" top: "sel" input_param { shape { dim: 5 dim: 1 } } }
layer { name: "twice" type: "Power" bottom: "x" top: "xx" power_param { scale: 2 } }
layer { name: "filter" type: "Filter" bottom: "xx" bottom: "n" bottom: "sel" top: "rows" top: "numbers" }
layer { name: "square" type: "Power" bottom: "rows" top: "squares" power_param { power: 2 } }
"""


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
@pytest.mark.filterwarnings("ignore::caffepy.NotComputedWarning")  # the selector's, which has none
def test_every_pass_chooses_its_rows(mode):
    with running(mode):
        net = make(FILTERED)
        x, numbers = noise(5, 3), np.arange(5, dtype=np.float32)
        for selector in ([0, 1, 0, -1, 0.5], [1, 1, 0, 0, 1], [0] * 5, [1] * 5, [0, 0, 0, 0, 1], [0, 0, 0, 1, 0]):
            chosen = np.flatnonzero(selector)
            out = net.forward(x=x, n=numbers, sel=np.reshape(selector, (5, 1)))
            np.testing.assert_allclose(out["squares"], 4 * x[chosen] ** 2, 1e-6)
            np.testing.assert_array_equal(out["numbers"], numbers[chosen])
            diff = noise(len(chosen), 3, seed=1)
            net.backward(squares=diff, numbers=np.ones(len(chosen)))
            expected = np.zeros((5, 3))
            expected[chosen] = 8 * x[chosen] * diff
            np.testing.assert_allclose(net.blobs["x"].diff, expected, 1e-5, 1e-6)
            assert net.blobs["n"].diff.tolist() == [float(bool(s)) for s in selector]
            gradient = net.gradient({"squares": diff}, "x")["x"]
            on_host = gradient if mode == "cpu" else downloaded(gradient)
            np.testing.assert_allclose(on_host, expected, 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        (
            'top: "a" top: "b"',
            [(4, 2), (4,)],
            "give a top for each bottom but the last, the selector; got 2 bottoms, 2",
        ),
        ("", [(4, 2), (4, 2)], r"the selector, bottom 'bottom1', has shape \(4, 2\); give \(n,\)"),
        ("", [(4, 2), ()], r"the selector, bottom 'bottom1', has shape \(\)"),
        ("", [(4, 2), (3,)], r"bottom 'bottom0' has shape \(4, 2\); the selector \(3,\) needs 3 rows"),
    ],
)
def test_filter_messages(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Filter" {text}', shapes)
