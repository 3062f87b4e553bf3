"""The benchmark's nets are the published ones, and PyTorch runs the same."""

import numpy as np
import pytest

import caffepy
from benchmarks.gpu.cases import unfilled
from benchmarks.nets import NETS


@pytest.mark.parametrize(
    ("name", "weights"), [("squeezenet", 1_235_496), ("googlenet", 6_998_552), ("vgg16", 138_357_544)]
)
def test_number_of_weights(name, weights):
    with caffepy.Net(unfilled(NETS[name](1)), caffepy.TEST) as net:
        assert sum(blob.count for blobs in net.params.values() for blob in blobs) == weights


def test_pytorch_agrees_on_squeezenet():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    from benchmarks.runs import build, one_score
    from benchmarks.torch_net import TorchNet

    net = build(NETS["squeezenet"](1))
    net.forward()
    diff = one_score(net)
    found = net.gradient({net.outputs[0]: diff}, "data")["data"]
    data = torch.from_numpy(net.blobs["data"].data.copy())
    twin = TorchNet(net)
    np.testing.assert_allclose(net.blobs[net.outputs[0]].data, twin.forward(data).numpy(), rtol=1e-4, atol=1e-7)
    expected = twin.gradient(data, torch.from_numpy(diff)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
