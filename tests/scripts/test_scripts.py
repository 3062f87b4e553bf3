"""Scripts in pycaffe's idiom, each in a process of its own, with `import caffe` and through `caffepy run`."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffepy
from caffepy import saliency, zoo
from caffepy.rules import DECONV, EXCITATION, Composite, products
from tests.cli import models
from tests.shared import ROOT

SCRIPTS = Path(__file__).parent
MODEL = zoo.fashion_mnist()
FILES = [str(MODEL.prototxt), str(MODEL.weights)]
PICTURES = [str(sample.picture) for sample in MODEL.samples]
SHIRT, BAG = 6, 8

Script = Callable[..., list[str]]


@pytest.fixture(params=["python", "caffepy run"])
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Script:
    """Runs a script of this folder by its name and arguments; what it prints, line by line.

    A warning is an error, unless it is the one expected.
    """

    def run(name: str, *arguments: object, warning: str = "") -> list[str]:
        own = [ROOT, ROOT / "caffepy" / "_alias"] if request.param == "python" else [ROOT]
        start = [] if request.param == "python" else ["-m", "caffepy", "run"]
        filters = ["-W", "default" if warning else "error", "-W", "ignore::ResourceWarning"]  # open(...).read()
        done = subprocess.run(
            [sys.executable, *filters, *start, str(SCRIPTS / name), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, own))},
        )
        assert done.returncode == 0, done.stderr
        assert warning in done.stderr if warning else not done.stderr, done.stderr
        return done.stdout.splitlines()

    return run


def by_itself() -> caffepy.Net:
    """The net the scripts use."""
    return MODEL.net()


def fully_convolutional() -> str:
    """The net with convolutions in place of inner products."""
    text = re.sub(
        r'name: "(fc\d)"\s+type: "InnerProduct"(.*?)inner_product_param \{',
        lambda m: (
            f'name: "{m[1]}-conv" type: "Convolution"{m[2]}convolution_param '
            f"{{ kernel_size: {3 if m[1] == 'fc4' else 1}"
        ),
        MODEL.prototxt.read_text(),
        flags=re.DOTALL,
    )
    assert text.count("-conv") == 2
    return text


def test_classification(script: Script, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(MODEL.labels))
    lines = script("classification.py", *FILES, labels, *PICTURES)
    truth = [MODEL.labels[sample.label] for sample in MODEL.samples]
    said = [line.rsplit(": ", 1)[1] for line in lines[:-1] if not line.startswith(" ")]
    assert sum(a == b for a, b in zip(said, truth, strict=True)) >= 8
    oversampled = [line.split(": ")[1].rsplit(" ", 1)[0] for line in lines if "oversampled" in line]
    assert lines[-1] == "classifier: " + ", ".join(oversampled)
    probabilities = [float(line.split()[0]) for line in lines[2:7]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_deep_dream(script: Script, tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    out = tmp_path / "dream.npy"
    lines = script("deep_dream.py", paths["model"], paths["weights"], paths["image"], "conv", out)
    dream = np.load(out)
    picture = np.asarray(Image.open(paths["image"]), np.float32)
    assert dream.shape == picture.shape == (16, 20, 3)
    assert 1 < np.abs(dream - picture).mean() < 100
    assert dream.min() >= -1e-3
    assert dream.max() <= 255 + 1e-3
    assert [line.split(")")[0].split("(")[1] for line in lines[::5]] == ["1, 6, 5, 8", "1, 6, 9, 12", "1, 6, 14, 18"]
    norms = [float(line.split()[-1]) for line in lines]
    for octave in range(3):
        assert norms[5 * octave + 4] > norms[5 * octave]


def test_net_surgery(script: Script, tmp_path: Path) -> None:
    full = fully_convolutional()
    (tmp_path / "full.prototxt").write_text(full)
    out = tmp_path / "full.caffemodel"
    lines = script("net_surgery.py", FILES[0], tmp_path / "full.prototxt", FILES[1], PICTURES[BAG], out)
    assert lines[0] == "fc4 weights are (96, 576) dimensional and biases are (96,) dimensional"
    assert lines[2] == "fc4-conv weights are (96, 64, 3, 3) dimensional and biases are (96,) dimensional"
    assert lines[4] == "same: True"
    assert lines[5] == f"map: (10, 5, 5), corner class {BAG}"
    saved = caffepy.Net(str(tmp_path / "full.prototxt"), caffepy.TEST, weights=str(out))
    np.testing.assert_array_equal(saved.params["fc4-conv"][0].data.ravel(), by_itself().params["fc4"][0].data.ravel())


def test_feature_extraction(script: Script, tmp_path: Path) -> None:
    out = tmp_path / "features.npy"
    lines = script("feature_extraction.py", *FILES, out, *PICTURES)
    features, net = np.load(out), by_itself()
    assert lines[0] == "data\t(4, 1, 28, 28)"
    assert "features (10, 96) pool3 (10, 64, 3, 3) prob (10, 10)" in lines
    for i, picture in enumerate(PICTURES):
        net.forward(data=caffepy.io.load_image(picture, color=False).transpose(2, 0, 1)[np.newaxis])
        np.testing.assert_allclose(features[i], net.blobs["fc4"].data[0], atol=1e-4)
    assert len([line for line in lines if " ~ " in line]) == 10


def test_python_loss(script: Script, tmp_path: Path) -> None:
    lines = script("python_loss.py", tmp_path / "net.prototxt", warning="did not compute the diff of 'x', 'y'")
    losses = [float(line.split(" = ")[1]) for line in lines[:-1]]
    assert losses[0] > 1
    assert losses[-1] < 1e-6
    assert float(lines[-1].removeprefix("w off by ")) < 1e-3


def test_saliency(script: Script, tmp_path: Path) -> None:
    out = tmp_path / "saliency.npy"
    lines = script("saliency.py", *FILES, PICTURES[BAG], BAG, out)
    assert lines[0].startswith(f"class {BAG}, prob ")
    net = by_itself()
    net.forward(data=caffepy.io.load_image(PICTURES[BAG], color=False).transpose(2, 0, 1)[np.newaxis])
    expected = np.abs(net.gradient({"prob": np.eye(10)[BAG : BAG + 1]})["data"][0, 0])
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(np.load(out), expected, atol=1e-4)


def picture(index: int) -> np.ndarray:
    return np.ascontiguousarray(caffepy.io.load_image(PICTURES[index], color=False).transpose(2, 0, 1)[np.newaxis])


def same(found: np.ndarray, right: np.ndarray) -> None:
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4 * abs(right).max())


def test_grad_cam(script: Script, tmp_path: Path) -> None:
    out = tmp_path / "cam.npz"
    assert script("grad_cam.py", *FILES, PICTURES[SHIRT], "conv3", out) == [f"class {SHIRT}, conv3 (7, 7)"]
    found, net, image = np.load(out), by_itself(), picture(SHIRT)
    net.forward(data=image)
    before_relu = "conv3", "conv3"  # in place a rectifier leaves its bottom's diff and its top's data
    weights = net.gradient({"prob": np.eye(10)[SHIRT : SHIRT + 1]}, wrt=[before_relu])[before_relu][0].mean(axis=(1, 2))
    same(found["cam"], np.maximum(np.einsum("c,cij->ij", weights, net.blobs["conv3"].data[0]), 0))
    same(found["guided"], saliency.guided_backprop(net, image, SHIRT, before_softmax=False).numpy())


def test_excitation(script: Script, tmp_path: Path) -> None:
    out = tmp_path / "excitation.npz"
    assert script("excitation.py", *FILES, PICTURES[BAG], "fc5", "fc4", "conv1", out) == [f"tag {BAG}, map (14, 14)"]
    found, net, one = np.load(out), by_itself(), np.eye(10)[BAG : BAG + 1]
    net.forward(data=picture(BAG))
    with net.rules(EXCITATION):
        same(found["winner"], net.gradient({"fc5": one}, wrt=[("conv1", "conv1")])["conv1", "conv1"][0])
    with net.rules(DECONV):
        same(found["deconv"], net.gradient({"fc5": one}, wrt="data")["data"][0])
    x, weights = np.maximum(net.blobs["fc4"].data[0], 0), net.params["fc5"][0].data[BAG]
    pro, con = (x * np.maximum(sign * weights, 0) for sign in (1, -1))  # section 3.3, with the output's weights turned
    with net.rules(EXCITATION):
        signal = (pro / pro.sum() - con / con.sum())[np.newaxis]
        same(found["contrastive"], net.gradient({"fc4": signal}, wrt=[("conv1", "conv1")])["conv1", "conv1"][0])


def test_relevance(script: Script, tmp_path: Path) -> None:
    out = tmp_path / "relevance.npz"
    lines = script("relevance.py", *FILES, PICTURES[BAG], out)
    found, net = np.load(out), by_itself()
    plain, dual = products.epsilon(1e-6), products.alpha_beta(2.0, 1.0)
    for name, chosen in {
        "epsilon": Composite("epsilon", plain, plain),
        "alphabeta": Composite("dual", dual, dual),
        "layer_dep": Composite("both", dual, plain),
        "ab_n_flat": Composite("both, flat", dual, plain, products.flat()),
    }.items():
        same(found[name], saliency.lrp(net, picture(BAG), BAG, composite=chosen).numpy())
    score = float(lines[-1].split()[-1])
    same(found["gradient"], score * saliency.gradient(net, picture(BAG), BAG).numpy())


@pytest.mark.parametrize(("layer", "unit"), [("fc5", (BAG, 0, 0)), ("conv3", (5, 3, 3))])
def test_optimize_image(script: Script, tmp_path: Path, layer: str, unit: tuple[int, int, int]) -> None:
    np.save(tmp_path / "mean.npy", np.full((1, 28, 28), 0.3))
    out = tmp_path / "start.npz"
    spatial = f"{unit[1]},{unit[2]}"
    lines = script("optimize_image.py", *FILES, tmp_path / "mean.npy", layer, unit[0], spatial, out)
    values = [float(line.split()[1]) for line in lines]
    assert values[-1] > values[0] + 2
    found, net = np.load(out), by_itself()
    net.forward(data=found["start"])
    diff = np.zeros(net.blobs[layer].shape)
    diff[(0, *unit)[: diff.ndim]] = 1
    same(found["grad"], net.gradient({layer: diff}, wrt="data")["data"])


def test_filters(script: Script, tmp_path: Path) -> None:
    files = [tmp_path / "filters.png", tmp_path / "activations.png"]
    lines = script("filters.py", *FILES, PICTURES[0], *files)
    assert [line.split(": ")[1].split()[0] for line in lines] == ["5", "4"]
    with Image.open(files[0]) as picture:
        assert picture.size == (5 * 8, 5 * 8)
        tiles = np.asarray(picture)
    filters = by_itself().params["conv1"][0].data[:, 0]
    shown = 255 * (filters[7] - filters.min()) / (filters.max() - filters.min())
    np.testing.assert_allclose(tiles[8:15, 16:23], shown, atol=1)
    with Image.open(files[1]) as picture:
        assert picture.size == (4 * 15, 4 * 15)


def test_netspec_lenet(script: Script, tmp_path: Path) -> None:
    path = tmp_path / "lenet.prototxt"
    lines = script("netspec_lenet.py", path)
    assert "('pool2', (8, 50, 4, 4))" in lines[0]
    assert lines[2] == "falls: True"
    assert 'type: "SoftmaxWithLoss"' in path.read_text()
