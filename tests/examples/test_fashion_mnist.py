"""The embedded Fashion-MNIST net, and the script that trains it."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import caffepy
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, PoolingParameter
from tests.shared import ROOT

MODEL = Path(caffepy.__file__).parent / "zoo" / "fashion_mnist"
SCRIPT = ROOT / "examples" / "fashion_mnist" / "train.py"

PREDICTIONS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
"""What the net takes the ten samples for, as its README says."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fashion_mnist_train", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def deploy_net() -> caffepy.Net:
    return caffepy.Net(MODEL / "deploy.prototxt", MODEL / "fashion_mnist.caffemodel", caffepy.TEST)


# ---- the model


def test_the_samples_are_taken_for_what_the_readme_says() -> None:
    pictures = sorted((MODEL / "samples").glob("*.png"))
    images = np.stack([caffepy.io.load_image(picture, color=False)[:, :, 0] for picture in pictures])
    assert images.shape == (10, 28, 28)
    net = deploy_net()
    net.blobs["data"].reshape(10, 1, 28, 28)
    prob = net.forward(data=images[:, np.newaxis])["prob"]
    np.testing.assert_allclose(prob.sum(axis=1), 1, rtol=1e-5)
    assert prob.argmax(axis=1).tolist() == PREDICTIONS


def test_samples_and_labels_go_together() -> None:
    labels = (MODEL / "labels.txt").read_text().splitlines()
    assert len(labels) == 10
    for index, (label, picture) in enumerate(zip(labels, sorted((MODEL / "samples").iterdir()), strict=True)):
        number, name = picture.stem.split("-", 1)
        assert int(number) == index
        assert label.lower().replace(" ", "-").startswith(name)


def test_the_net_is_small_and_has_what_a_demo_should_show() -> None:
    assert (MODEL / "fashion_mnist.caffemodel").stat().st_size < 1_000_000
    net = deploy_net()
    params = [layer.param for layer in net.layers]
    assert any(param.type == "LRN" for param in params)
    assert any(param.type == "Convolution" and param.convolution_param.group > 1 for param in params)
    assert any(param.type == "Pooling" and param.pooling_param.pool == PoolingParameter.MAX for param in params)
    assert (net.inputs, net.outputs, net.blobs["data"].shape) == (["data"], ["prob"], (1, 1, 28, 28))


def test_the_caffemodel_alone_is_the_same_net() -> None:
    image = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    alone = caffepy.Net(MODEL / "fashion_mnist.caffemodel", caffepy.TEST)
    expected = deploy_net().forward(data=image)["prob"]
    np.testing.assert_array_equal(alone.forward(data=image)["prob"], expected)


def test_the_trained_and_the_deployed_net_have_the_same_layers(script: ModuleType) -> None:
    train, deploy = (prototxt.read(path, NetParameter).layer for path in (script.TRAIN_NET, MODEL / "deploy.prototxt"))
    assert list(train)[1:-1] == list(deploy)[1:-1]


def test_it_keeps_its_accuracy(script: ModuleType) -> None:
    folder = Path(os.environ.get("FASHION_MNIST", script.DATA))
    if not folder.is_dir():
        pytest.skip(f"Fashion-MNIST is not in {folder}; set FASHION_MNIST to the folder of its four .gz files")
    assert script.accuracy(deploy_net(), *script.load(folder, "t10k")) >= 0.89


# ---- the script


def squares() -> tuple[np.ndarray, np.ndarray]:
    """256 noisy images, class k with a bright square at the k-th of ten places."""
    generator = np.random.default_rng(1)
    labels = np.arange(256) % 10
    images = generator.integers(0, 100, (256, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = 14 * (label // 5), 5 * (label % 5)
        image[top : top + 8, left : left + 5] = 250
    return images, labels.astype(np.uint8)


def test_training_lowers_the_loss_and_repeats_to_the_bit(script: ModuleType) -> None:
    def run(seed: int) -> tuple[list[float], list[np.ndarray]]:
        caffepy.set_random_seed(seed)
        net = caffepy.Net(script.TRAIN_NET, caffepy.TRAIN)
        losses = list(script.train(net, *squares(), 4, np.random.default_rng(seed)))
        return losses, [blob.data.copy() for blobs in net.params.values() for blob in blobs]

    losses, weights = run(3)
    assert losses[-1] < 0.8 * losses[0]
    again_losses, again = run(3)
    assert again_losses == losses
    for first, second in zip(weights, again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(run(4)[1][0], weights[0])


def test_update_is_sgd_with_momentum_and_decay_of_weights_alone(script: ModuleType) -> None:
    net = caffepy.Net(script.TRAIN_NET, caffepy.TRAIN)
    weight, bias = net.params["fc5"]
    moments = [np.zeros_like(blob.data) for blobs in net.params.values() for blob in blobs]
    start = weight.data.astype(np.float64), bias.data.astype(np.float64)
    expected = [[w.copy(), np.zeros_like(w)] for w in start]
    for step in (1.0, 2.0):
        for blob, state, decay in zip((weight, bias), expected, (script.WEIGHT_DECAY, 0), strict=True):
            blob.diff[...] = step
            state[1] = script.MOMENTUM * state[1] + step + decay * state[0]
            state[0] = state[0] - state[1]
        script.update(net, moments, 1.0)
        assert not any(blob.diff.any() for blobs in net.params.values() for blob in blobs)
    for blob, state in zip((weight, bias), expected, strict=True):
        np.testing.assert_allclose(blob.data, state[0], rtol=0, atol=3e-6)


def test_a_batch_counts_as_it_is_and_moved_up_its_own_slope(script: ModuleType) -> None:
    caffepy.set_random_seed(0)
    net = caffepy.Net(script.TRAIN_NET, caffepy.TRAIN)
    images, labels = (part[:64] for part in squares())
    data, weight = script.scaled(images), net.params["conv1"][0]

    def loss_and_diff(moved: np.ndarray) -> tuple[float, np.ndarray]:
        weight.diff[...] = 0
        loss = float(net.forward(data=moved, label=labels)["loss"])
        net.backward(end="conv1")
        return loss, weight.diff.copy()

    loss, diff = loss_and_diff(data)
    slope = net.gradient({"loss": 1}, ["data"])["data"]
    worse, moved_diff = loss_and_diff(data + script.EPSILON * np.sign(slope))
    assert worse > loss
    weight.diff[...] = 0
    assert script.accumulate_diffs(net, data, labels) == loss
    np.testing.assert_allclose(weight.diff, diff + moved_diff, rtol=1e-4, atol=1e-5 * np.abs(diff).max())


def test_missing_or_damaged_data_is_said(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="dataset-fashion-mnist"):
        script.load(tmp_path, "train")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(script.gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 5, 1, 2, 3])))
    with pytest.raises(SystemExit, match="not a whole IDX file"):
        script.read_idx(path)
    path.write_bytes(script.gzip.compress(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3])))
    assert script.read_idx(path).tolist() == [[1, 2, 3]]
