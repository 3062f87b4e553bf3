"""`caffepy classify`: as pycaffe's scripts do it by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import caffepy as caffe
from caffepy.cli import main
from tests.cli import models


def by_hand(paths: dict[str, str], image: str, oversample: bool) -> np.ndarray:
    """(7,) probabilities."""
    net = caffe.Net(paths["model"], caffe.TEST, weights=paths["weights"])
    picture = caffe.io.load_image(image)
    if oversample:
        crops = caffe.io.oversample([caffe.io.resize_image(picture, (13, 11))], (12, 10))
    else:
        crops = [caffe.io.resize_image(picture, (12, 10))]
    mean = np.array([104, 117, 123], np.float32).reshape(3, 1, 1)
    data = np.stack([crop.transpose(2, 0, 1)[::-1] * 255 - mean for crop in crops])
    net.blobs["data"].reshape(*data.shape)
    return net.forward(data=data)["prob"].mean(axis=0)


@pytest.mark.parametrize("oversample", [False, True])
def test_values_are_those_of_a_script(tmp_path: Path, oversample: bool) -> None:
    paths = models.write(tmp_path)
    more = tmp_path / "gray.png"
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(more)
    arguments = [paths["model"], paths["weights"], paths["image"], str(more), "--labels", paths["labels"], "--json"]
    result = CliRunner().invoke(main, ["classify", *arguments, *["--oversample"] * oversample, "--top", "7"])
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    for entry, image in zip(found["images"], (paths["image"], str(more)), strict=True):
        expected = by_hand(paths, image, oversample)
        assert entry["image"] == image
        assert [each["index"] for each in entry["top"]] == np.argsort(-expected, kind="stable").tolist()
        for each in entry["top"]:
            assert each["value"] == pytest.approx(expected[each["index"]], abs=1e-5)
            assert each["label"] == models.LABELS[each["index"]]


def test_many_pictures_from_a_list_in_batches(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    (tmp_path / "all.txt").write_text("picture.png 3\npicture.png\n\npicture.png -1\n")
    arguments = ["classify", paths["weights"], "--list", str(tmp_path / "all.txt"), "--batch", "2", "--top", "1"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "input    3x12x10, BGR, scale 255, mean 104,117,123"
    assert lines[1::2] == [paths["image"]] * 3
    assert len(set(lines[2::2])) == 1
    assert lines[2].startswith("top 1 ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{model}", "{image}"], 2, "Expected WEIGHTS after MODEL"),
        (["{model}", "{weights}"], 2, "Expected an IMAGE at least"),
        (["{model}", "{weights}", "none.png"], 1, "cannot open 'none.png'"),
        (["{model}", "{weights}", "{labels}"], 1, "is no picture"),
        (["{model}", "{weights}", "{image}", "--image-size", "11"], 1, "the net's input is 12x10; give at least that"),
        (["{model}", "{weights}", "--list", "none.txt"], 1, "'none.txt' cannot be opened"),
        (["{model}", "{weights}", "{image}", "--labels", "{weights}"], 1, "no UTF-8 text"),
    ],
)
def test_wrong_calls(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    paths = models.write(tmp_path)
    result = CliRunner().invoke(main, ["classify", *(argument.format(**paths) for argument in arguments)])
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_two_outputs(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    with open(paths["model"], "a") as file:
        file.write('layer { name: "other" type: "TanH" bottom: "conv" top: "other" }')
    result = CliRunner().invoke(main, ["classify", paths["model"], paths["weights"], paths["image"]])
    assert result.exit_code == 1
    assert "the net has the outputs other, prob; classes are read from one" in result.stderr
