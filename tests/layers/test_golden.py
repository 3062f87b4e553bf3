"""Every golden net against real Caffe, on every device: names in order, tops, bottom and weight diffs, running sums."""

from collections.abc import Iterator

import numpy as np
import pytest

import caffepy
from caffepy.layer import TYPES
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, Phase
from tests.gpu_mode import MODES, running
from tests.layers import golden
from tests.layers.golden import Golden


@pytest.fixture(params=golden.runnable(), ids=lambda case: case.id)
def case(request) -> Golden:
    return request.param


@pytest.fixture(params=MODES)
def mode(request) -> Iterator[None]:
    with running(request.param):
        yield


@pytest.mark.usefixtures("mode")
@pytest.mark.filterwarnings("ignore::caffepy.NotComputedWarning")  # the noforce cases are about what stays
def test_case_agrees_with_caffe(case):
    net = caffepy.Net(prototxt.parse(case.prototxt, NetParameter), Phase.Value(case.phase))
    assert [layer.name for layer in net.layers] == list(case.kind("order")["layers"])
    assert list(net.blobs) == list(case.kind("order")["blobs"])
    assert list(net.outputs) == list(case.kind("order")["outputs"])

    for key, value in case.kind("param").items():
        weight(net, key).data[...] = value
    for blob, value in case.kind("in").items():
        net.blobs[blob].data[...] = value
    net.forward()
    for blob, value in case.kind("top").items():
        check(case, f"top/{blob}", net.blobs[blob].data, value)

    if not case.kind("botdiff") and not case.kind("paramdiff"):
        return
    for blob, value in case.kind("topdiff").items():
        if net.blob_loss_weights[blob]:
            check(case, f"topdiff/{blob}", net.blobs[blob].diff, value)
        else:
            net.blobs[blob].diff[...] = value
    net.backward()
    for blob, value in case.kind("botdiff").items():
        check(case, f"botdiff/{blob}", net.blobs[blob].diff, value)
    for key, value in case.kind("paramdiff").items():
        check(case, f"paramdiff/{key}", weight(net, key).diff, value)
    for key, value in case.kind("param_after").items():
        check(case, f"param_after/{key}", weight(net, key).data, value)


def weight(net, key):
    layer, index = key.rsplit("/", 1)
    return net.params[layer][int(index)]


def check(case, key, found, expected):
    if key in golden.NOT_A_DERIVATIVE.get(case.id, ()):
        return
    assert found.shape == expected.shape, key
    np.testing.assert_allclose(found, expected, case.relative_tolerance, 1e-5, err_msg=key)


def test_list_of_missing_types_is_true():
    used = set().union(*(case.types for case in golden.cases()))
    assert used - set(TYPES) == golden.MISSING_TYPES, "types were added or lost: mend golden.MISSING_TYPES"


def test_all_cases_are_there():
    assert len(golden.cases()) == 214
