"""Saliency maps against the definition: finite differences, and pycaffe's own backward pass."""

from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import ArgumentError, StateError
from caffepy.saliency import channel_maximum, class_score, saliency_map, score_gradient
from caffepy.saliency.maps import channel_maximum_forward
from tests.gpu_mode import check_bodies
from tests.nets import FORK, make, noise
from tests.saliency.nets import CLASSIFIER, DENSE, POOLED
from tests.shared import shared


def measured(net: caffe.Net, blob: str, classes: list[int], step: float = 1e-2) -> np.ndarray:
    """M by the definition: the score's central difference at every value of the image."""
    image = net.blobs["data"].data.copy()
    derivative = np.zeros(image.shape)
    for index in np.ndindex(image.shape):
        scores = []
        for sign in (1, -1):
            changed = image.copy()
            changed[index] += sign * step
            net.forward(data=changed)
            scores.append(net.blobs[blob].data[index[0], classes[index[0]]].sum(dtype=np.float64))
        derivative[index] = (scores[0] - scores[1]) / (2 * step)
    net.forward(data=image)
    return np.array([np.maximum.reduce([abs(channel) for channel in image]) for image in derivative])


@pytest.mark.parametrize(("text", "blob"), [(CLASSIFIER, "fc"), (DENSE, "score"), (POOLED, "pool")])
def test_the_map_is_the_largest_derivative_over_the_channels(text: str, blob: str) -> None:
    net = make(text)
    net.forward(data=noise(2, 3, 5, 4))
    maps = saliency_map(net, [1, 4])
    assert maps.shape == (2, 5, 4)
    expected = measured(net, blob, [1, 4])
    np.testing.assert_allclose(maps, expected, rtol=5e-3, atol=1e-3 * expected.max())


def test_the_map_of_a_probability() -> None:
    net = make(CLASSIFIER)
    net.forward(data=noise(2, 3, 5, 4))
    expected = measured(net, "prob", [1, 4])
    maps = saliency_map(net, [1, 4], before_softmax=False)
    np.testing.assert_allclose(maps, expected, rtol=5e-3, atol=1e-3 * expected.max())


def test_it_is_what_the_pycaffe_script_computes() -> None:
    net = make(CLASSIFIER)
    net.forward(data=noise(2, 3, 5, 4))
    maps = saliency_map(net, 3)
    net.blobs["fc"].diff[...] = 0
    net.blobs["fc"].diff[:, 3] = 1
    back = net.backward(start="fc")
    np.testing.assert_allclose(maps, np.abs(back["data"]).max(axis=1), rtol=1e-6)


def test_maps_of_a_gpu_are_on_the_host(gpu: Any) -> None:
    caffe.set_mode_cpu()
    data = noise(2, 3, 5, 4)
    net = make(CLASSIFIER)
    net.forward(data=data)
    expected = saliency_map(net, "top")
    caffe.set_mode_gpu()
    for _ in range(3):
        net.forward(data=data)
        maps = saliency_map(net, "top")
        assert isinstance(maps, np.ndarray)
        np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)


def test_a_nan_stays_one(gpu: Any) -> None:
    values = noise(2, 3, 5, 4)
    values[0, 1, 2, 3] = np.nan
    check_bodies(channel_maximum_forward, values, 3, 20, np.full((2, 5, 4), -1, np.float32), rtol=0, atol=0)


def test_no_diff_of_the_net_is_touched() -> None:
    net = make(CLASSIFIER)
    net.forward(data=noise(2, 3, 5, 4))
    for blob in net.blobs.values():
        blob.diff[...] = 7
    saliency_map(net)
    assert all((blob.diff == 7).all() for blob in net.blobs.values())


def test_a_map_of_a_blob_in_mid_net() -> None:
    net = make(DENSE)
    net.forward(data=noise(2, 3, 5, 4))
    weights = net.params["score"][0].data[2]  # (4, 2, 2), of class 2
    expected = np.zeros((4, 5, 4))
    for y, x in np.ndindex(4, 3):
        expected[:, y : y + 2, x : x + 2] += weights
    maps = saliency_map(net, 2, wrt=("conv", "tanh"))
    np.testing.assert_allclose(maps, [np.abs(expected).max(axis=0)] * 2, rtol=1e-5)


def test_the_net_must_have_run() -> None:
    net = make(CLASSIFIER)
    with pytest.raises(StateError, match="run forward"):
        saliency_map(net, 0)


def test_a_changed_input_is_noticed() -> None:
    net = make(CLASSIFIER)
    net.forward(data=noise(2, 3, 5, 4))
    net.blobs["data"].data[...] = 0
    with pytest.raises(StateError, match="'data' was changed"):
        saliency_map(net, 0)


def test_a_net_with_several_inputs_needs_a_choice() -> None:
    net = make(FORK)
    net.forward(x=noise(2, 3), unused=noise(2, 3))
    score = class_score(net, 0, output="sum")
    with pytest.raises(ArgumentError, match="one input, found 'x', 'unused'; choose a blob with `wrt`"):
        score_gradient(net, score)
    assert score_gradient(net, score, "x").shape == (2, 3)


def test_a_map_needs_height_and_width() -> None:
    with pytest.raises(ArgumentError, match=r"shape \(N, channels, height, width\), got \(2, 3\)"):
        channel_maximum(noise(2, 3))


def test_scores_of_another_batch_are_refused() -> None:
    net = make("""
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
        layer { name: "flat" type: "Reshape" bottom: "data" top: "flat" reshape_param { shape { dim: 6 dim: 20 } } }
    """)
    net.forward(data=noise(2, 3, 5, 4))
    with pytest.raises(ArgumentError, match="of another number of images than 'data'"):
        saliency_map(net, 0)


def test_real_caffes_gradient_of_a_trained_net() -> None:
    folder = shared("models/squeezenet-v1.1")
    golden = np.load(shared("golden/nets/real_squeezenet_v1.1_cat.npz"))
    with caffe.Net(str(folder / "deploy.prototxt"), str(folder / "squeezenet_v1.1.caffemodel"), caffe.TEST) as net:
        net.blob("data").reshape(*golden["x"].shape)
        net.blob("data").data[...] = golden["x"]
        net.forward_from_to(0, len(net.layers) - 1)
        for before_softmax, name in ((True, "data_diff_from_logit"), (False, "data_diff_from_output")):
            expected = np.abs(golden[name]).max(axis=1)
            maps = saliency_map(net, 281, before_softmax=before_softmax)
            np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-5 * expected.max())
