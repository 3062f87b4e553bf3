"""forward_all and forward_backward_all: any number of samples."""

import numpy as np
import pytest

from caffepy.errors import ArgumentError
from tests.nets import CHAIN, FORCED, make, noise


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 6])
def test_every_sample_has_its_row(samples: int) -> None:
    x, diff = noise(samples, 3, 8, 8), noise(samples, 5, seed=3)
    whole = make(FORCED)
    whole.blobs["data"].reshape(samples, 3, 8, 8)
    outputs, gradients = whole.forward(["pool1"], data=x), whole.backward(["pool1"], fc=diff)
    net = make(FORCED)
    found = net.forward_all(["pool1"], data=x)
    assert set(found) == {"fc", "pool1"}
    for name, value in found.items():
        np.testing.assert_allclose(value, outputs[name], rtol=1e-5, atol=1e-6)
    found, found_diffs = net.forward_backward_all(["pool1"], ["pool1"], data=x, fc=diff)
    assert set(found_diffs) == {"data", "pool1"}
    for name in ("fc", "pool1"):
        np.testing.assert_allclose(found[name], outputs[name], rtol=1e-5, atol=1e-6)
    for name, value in found_diffs.items():
        np.testing.assert_allclose(value, gradients[name], rtol=1e-4, atol=1e-6)


def test_results_are_copies() -> None:
    net = make(CHAIN)
    found = net.forward_all(data=noise(2, 3, 8, 8))["fc"].copy()
    kept = net.forward_all(data=noise(2, 3, 8, 8))["fc"]
    net.forward(data=noise(2, 3, 8, 8, seed=8))
    np.testing.assert_array_equal(kept, found)


def test_a_loss_has_a_row_for_each_batch() -> None:
    net = make(
        'layer { name: "x" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "t" top: "loss" }'
    )
    x = noise(5, 3)
    expected = [(part**2).sum() / 4 for part in (x[:2], x[2:4], x[4:])]
    np.testing.assert_allclose(net.forward_all(x=x, t=0 * x)["loss"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "forward_all: give arrays of as many samples for each, one at least; got none"),
        ({"data": noise(0, 3, 8, 8)}, "got {'data': 0}"),
        ({"date": noise(2, 3, 8, 8)}, r"keyword arguments must be exactly the net's inputs \['data'\], got \['date'\]"),
    ],
)
def test_wrong_inputs(inputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(CHAIN).forward_all(**inputs)


def test_diffs_for_other_samples() -> None:
    with pytest.raises(ArgumentError, match="forward_backward_all: 3 diffs for 2 inputs; give as many"):
        make(FORCED).forward_backward_all(data=noise(2, 3, 8, 8), fc=noise(3, 5))
