"""`caffepy saliency`: what it prints, the picture, and every way to call it wrongly."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import caffepy as caffe
from caffepy.cli import main
from caffepy.saliency import saliency_map
from caffepy.saliency.preprocess import Preprocess
from tests.cli import models
from tests.shared import shared


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return models.write(tmp_path)


def arguments(small: dict[str, str]) -> list[str]:
    return [small["model"], small["weights"], small["image"]]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["saliency", *arguments])


def drawn(path: str | Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def test_it_prints_the_best_classes_and_writes_the_picture(small: dict[str, str]) -> None:
    result = call(*arguments(small), "--labels", small["labels"])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "input    3x12x10, BGR, scale 255, mean 104,117,123"
    assert [line[:5] for line in lines[1:6]] == [f"top {rank}" for rank in range(1, 6)]
    assert lines[6].startswith("target   ")
    assert lines[7].startswith("time     forward ")
    assert lines[8].startswith("picture  picture-saliency.png")
    assert drawn("picture-saliency.png").shape[1] == 3 * 480 + 4 * 10


def test_json_says_what_the_library_computes(small: dict[str, str]) -> None:
    result = call(*arguments(small), "--labels", small["labels"], "--json", "-o", "a.png")
    report = json.loads(result.stdout)
    net = caffe.Net(small["model"], small["weights"], caffe.TEST)
    net.blobs["data"].reshape(1, 3, 12, 10)
    image = caffe.io.load_image(small["image"])
    data = Preprocess(255, np.array([104, 117, 123], np.float32)).apply(image, (3, 12, 10))
    prob = net.forward(data=data)["prob"][0]
    best = sorted(range(7), key=lambda c: -prob[c])
    assert [entry["index"] for entry in report["top"]] == best[:5]
    assert [entry["value"] for entry in report["top"]] == pytest.approx([float(prob[c]) for c in best[:5]])
    assert report["target"] == report["top"][0]
    assert report["target"]["label"] == models.LABELS[best[0]]
    assert report["picture"] == "a.png"
    assert report["forward_ms"] > 0
    assert report["gradient_ms"] > 0


@pytest.mark.parametrize(("target", "index"), [("2", 2), ("snail", 3)])
def test_the_picture_shows_the_targets_map(small: dict[str, str], target: str, index: int) -> None:
    options = ["--labels", small["labels"], "--mean", "none", "--target", target, "-o", "out.png"]
    assert call(*arguments(small), *options).exit_code == 0
    net = caffe.Net(small["model"], small["weights"], caffe.TEST)
    net.blobs["data"].reshape(1, 3, 12, 10)
    net.forward(data=Preprocess().apply(caffe.io.load_image(small["image"]), (3, 12, 10)))
    expected = saliency_map(net, index)[0]
    heat = drawn("out.png").mean(axis=2)[10 : 10 + 384, 500 : 500 + 480]
    cells = heat.reshape(12, 32, 10, 48).mean(axis=(1, 3))
    assert np.corrcoef(cells.ravel(), expected.ravel())[0, 1] > 0.97


def test_a_caffemodel_needs_no_prototxt(small: dict[str, str]) -> None:
    result = call(small["weights"], small["image"])
    assert result.exit_code == 0
    with_prototxt = call(*arguments(small))
    assert result.stdout.splitlines()[:7] == with_prototxt.stdout.splitlines()[:7]


def test_another_blob_of_scores(small: dict[str, str]) -> None:
    result = call(*arguments(small), "--output", "conv", "--target", "5")
    assert "\ntarget   5\n" in result.stdout


def test_a_gray_net_gets_a_gray_picture_and_no_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = models.write(tmp_path, channels=1)
    result = call(*arguments(small), "--scale", "1")
    assert result.stdout.startswith("input    1x12x10, gray, scale 1, no mean\n")


def test_the_default_mean_is_only_for_scale_255(small: dict[str, str]) -> None:
    result = call(*arguments(small), "--scale", "1")
    assert result.stdout.startswith("input    3x12x10, BGR, scale 1, no mean\n")
    result = call(*arguments(small), "--mean", "1,2,3")
    assert result.stdout.startswith("input    3x12x10, BGR, scale 255, mean 1,2,3\n")


def test_random_weights(small: dict[str, str]) -> None:
    result = call(small["model"], small["image"], "--random-weights")
    assert result.exit_code == 0
    assert "Warning: the weights are random" in result.stderr
    assert "black" not in result.stderr
    assert call(small["model"], small["image"], "--random-weights", "--json").stdout.startswith("{")


def test_a_black_map_is_said(small: dict[str, str]) -> None:
    net = caffe.Net(small["model"], small["weights"], caffe.TEST)
    for blob in net.params["conv"]:
        blob.data[...] = -1
    net.save("dead.caffemodel")
    result = call(small["model"], "dead.caffemodel", small["image"], "--mean", "none")
    assert result.exit_code == 0
    assert "Warning: the gradient is zero everywhere" in result.stderr


def test_weights_that_do_not_cover_the_net_are_said(small: dict[str, str]) -> None:
    text = Path(small["model"]).read_text().replace('"fc"', '"fc_new"')
    Path("renamed.prototxt").write_text(text)
    result = call("renamed.prototxt", small["weights"], small["image"])
    assert "Warning: " in result.stderr
    assert "fc_new" in result.stderr


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["{weights}"], "Expected WEIGHTS and IMAGE after MODEL, got only"),
        (["{image}"], "say --random-weights to run without one"),
        (["{weights}", "{image}", "{image}"], "Expected WEIGHTS and IMAGE after MODEL, got"),
        (["{weights}", "{image}", "--random-weights"], "Expected only IMAGE, with --random-weights"),
        ([], "Missing argument"),
        (["{weights}", "{image}", "--scale", "much"], "Invalid value for '--scale'"),
    ],
)
def test_usage_errors(small: dict[str, str], files: list[str], message: str) -> None:
    result = call(small["model"], *(file.format(**small) for file in files))
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "no.prototxt"}, "no.prototxt"),
        ({"weights": "no.caffemodel"}, "no.caffemodel"),
        ({"image": "no.png"}, "cannot open 'no.png'"),
        ({"image": "{model}"}, "no picture Pillow can read"),
        ({"--labels": "no.txt"}, "'no.txt' cannot be opened"),
        ({"--labels": "{image}"}, "no UTF-8 text"),
        ({"--target": "7"}, "target 7 is out of range: the net has 7 classes, give 0 to 6"),
        ({"--target": "snail"}, "give the names with --labels FILE"),
        ({"--target": "lizard", "--labels": "{labels}"}, "no label matches 'lizard'"),
        ({"--target": "crane", "--labels": "{labels}"}, "2 labels match 'crane'"),
        ({"--mean": "1,2"}, "the net's input has 3 channel(s)"),
        ({"--mean": "no.npy"}, "no.npy' cannot be opened"),
        ({"--output": "probe"}, "no blob 'probe'; did you mean 'prob'"),
        ({"-o": "out.what"}, "suffix .png or .jpg"),
        ({"-o": "none/out.png"}, "cannot write 'none/out.png'"),
    ],
)
def test_errors(small: dict[str, str], change: dict[str, str], message: str) -> None:
    given = {**small, **{key: value.format(**small) for key, value in change.items()}}
    options = [part for key, value in given.items() if key.startswith("-") for part in (key, value)]
    result = call(given["model"], given["weights"], given["image"], *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr


CAT = (15 / 360, 353 / 360, 168 / 480, 352 / 480)
"""top, bottom, left, right of the cat in images/cat.jpg; 36 % of its area."""


def test_the_map_of_a_cat_lies_on_the_cat(tmp_path: Path) -> None:
    folder, image = shared("models/squeezenet-v1.1"), shared("images/cat.jpg")
    files = [str(folder / "deploy.prototxt"), str(folder / "squeezenet_v1.1.caffemodel"), str(image)]
    out = tmp_path / "cat.png"
    labels = ["--labels", str(shared("images/synset_words.txt"))]
    result = call(*files, *labels, "--target", "tabby", "--json", "-o", str(out))
    report = json.loads(result.stdout)
    assert report["target"]["index"] == 281
    assert 281 in [entry["index"] for entry in report["top"]]
    with caffe.Net(files[0], files[1], caffe.TEST) as net:
        net.blob("data").reshape(1, 3, 227, 227)
        mean = np.array([104, 117, 123], np.float32)
        net.blob("data").data[...] = Preprocess(255, mean).apply(caffe.io.load_image(image), (3, 227, 227))
        net.forward_from_to(0, len(net.layers) - 1)
        saliency = saliency_map(net, 281)[0]
    top, bottom, left, right = (round(227 * edge) for edge in CAT)
    on_cat = saliency[top:bottom, left:right].sum() / saliency.sum()
    assert on_cat > 0.6
    energy = np.square(saliency)
    assert energy[top:bottom, left:right].sum() / energy.sum() > 0.8
    assert drawn(out).shape == (402, 3 * 480 + 4 * 10, 3)
