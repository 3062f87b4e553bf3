"""Modes and net.lrp of branches that explain."""

from collections.abc import Iterator

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import ArgumentError
from caffepy.rules import EXCITATION, GUIDED
from tests.nets import make, noise
from tests.saliency.nets import MIXED

FORCED = "force_backward: true\n" + MIXED


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    yield
    caffe.set_mode_cpu()


def backward(net: caffe.Net) -> np.ndarray:
    return net.backward(prob=np.eye(6)[[1, 4]])["data"].copy()


def test_a_mode_lasts_until_the_next() -> None:
    net, one = make(FORCED), {"prob": np.eye(6)[[1, 4]]}
    net.forward(data=noise(2, 3, 9, 8))
    plain = backward(net)
    caffe.set_mode_eb_cpu()
    with net.rules(EXCITATION):
        right = net.gradient(one, wrt="data")["data"]
    found = backward(net)
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-6)
    assert abs(found - plain).max() > 1e-3
    np.testing.assert_allclose(net.gradient(one, wrt="data")["data"], plain, rtol=1e-4, atol=1e-6)
    caffe.set_mode_dc_cpu()
    assert abs(backward(net) - found).max() > 1e-3
    with net.rules(GUIDED):  # a net's own rules come first
        guided = backward(net)
    caffe.set_mode_cpu()
    np.testing.assert_array_equal(backward(net), plain)
    assert abs(guided - plain).max() > 1e-4


def test_relevance_adds_up_to_the_score_and_starts_where_told() -> None:
    net = make(FORCED)
    for blobs in net.params.values():
        for blob in blobs[1:]:
            blob.data[...] = 0
    net.forward(data=noise(2, 3, 9, 8))
    options = caffe.RelPropOpts()
    options.epsstab = 1e-9
    found = net.lrp([2, 3], options)
    assert found.shape == net.blobs["data"].shape
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), net.blobs["fc"].data[:, [2, 3]].sum(axis=1), rtol=1e-2)
    options.lastlayerindex = -1
    assert abs(net.lrp(2, options)).max() < abs(found).max()


def test_what_is_wrong_is_said() -> None:
    net, options = make(FORCED), caffe.RelPropOpts()
    net.forward(data=noise(2, 3, 9, 8))
    for wrong in (6, -1, "cat", [0.5]):
        with pytest.raises(ArgumentError, match="one or more of 0 to 5"):
            net.lrp(wrong, options)
    options.relpropformulatype = 54
    with pytest.raises(ArgumentError, match="needs auxiliaryvariable_maxlayerindexforflatdistinconv"):
        net.lrp(1, options)
    options.relpropformulatype = 31
    with pytest.raises(ArgumentError, match="relpropformulatype is 31; there are 0, 2"):
        net.lrp(1, options)
    options.relpropformulatype, options.lastlayerindex = 0, 99
    with pytest.raises(ArgumentError, match="lastlayerindex is 99"):
        net.lrp(1, options)
    options.lastlayerindex, options.maxpoolingtoavgpoolinginbackwardpass = -2, 1
    with pytest.raises(ArgumentError, match="set it to 0"):
        net.lrp(1, options)
