"""Backward passes that start at a layer."""

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import ArgumentError, UnknownLayerError
from tests.nets import make, noise
from tests.saliency.nets import MIXED
from tests.saliency.slow import Slow, Step

FORCED = "force_backward: true\n" + MIXED


def started() -> tuple[caffe.Net, Slow, np.ndarray]:
    net, image = make(FORCED), noise(2, 3, 9, 8)
    net.forward(data=image)
    slow = Slow(net)
    slow.forward(image)
    return net, slow, noise(2, 4, 3, 3, seed=5)


def guided(step: Step, dy: np.ndarray) -> list[np.ndarray]:
    return [np.maximum(dy, 0) * (step.bottoms[0] > 0)]


def deconv(step: Step, dy: np.ndarray) -> list[np.ndarray]:
    return [np.maximum(dy, 0)]


def test_backward_from_a_layer() -> None:
    net, slow, diff = started()
    found = net.backward_from_layer("relu_sum", diff)
    np.testing.assert_allclose(found["data"], slow.backward("sum", diff), rtol=1e-4, atol=1e-5)
    assert found["data"] is not net.blobs["data"].diff
    np.testing.assert_array_equal(found["data"], net.blobs["data"].diff)


@pytest.mark.parametrize(("kind", "rule"), [("Zeiler & Fergus", deconv), ("Guided Backprop", guided)])
def test_deconv_from_a_layer(kind: str, rule) -> None:
    net, slow, diff = started()
    found = net.deconv_from_layer("relu_sum", diff, ["pool1"], deconv_type=kind)
    np.testing.assert_allclose(found["data"], slow.backward("sum", diff, {"ReLU": rule}), rtol=1e-4, atol=1e-5)
    assert found["pool1"].shape == (2, 4, 3, 3)


def test_the_scripts_that_give_a_blob_and_no_kind() -> None:
    net, _, diff = started()
    found = net.deconv_from_layer("sum", diff, zero_higher=True)
    assert found["data"].any()
    for name in ("fc", "prob", "both"):
        assert not net.blobs[name].diff.any()


def test_what_is_wrong_is_said() -> None:
    net, _, diff = started()
    with pytest.raises(UnknownLayerError, match="no layer 'reul_sum'; did you mean 'relu_sum'"):
        net.backward_from_layer("reul_sum", diff)
    with pytest.raises(ArgumentError, match="the diff of layer 'relu_sum': shape"):
        net.backward_from_layer("relu_sum", diff[:, :3])
    with pytest.raises(ArgumentError, match="deconv_type is 'guided'"):
        net.deconv_from_layer("relu_sum", diff, deconv_type="guided")
