"""Commands that explain: maps by several methods, class images, dreams, objects, and their comparison."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from caffepy import zoo
from caffepy.cli import main

MODEL = zoo.fashion_mnist()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def files(*more: str) -> list[str]:
    return [str(MODEL.prototxt), str(MODEL.weights), *more, "--scale", "1"]


def labels() -> list[str]:
    return ["--labels", str(MODEL.prototxt.parent / "labels.txt")]


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_saliency_by_several_methods(tmp_path: Path) -> None:
    out, picture = tmp_path / "grid.png", str(MODEL.samples[8].picture)
    result = call("saliency", *files(picture), "--method", "gradient,lrp,layer-cam,deeplift", *labels(), "-o", str(out))
    assert result.exit_code == 0, result.output
    width, height = size(out)
    assert width == 7 * 240 + 8 * 10
    assert height > 2 * 240
    report = json.loads(call("saliency", *files(picture), "--method", "lrp", "--json", "-o", str(out)).stdout)
    assert report["target"]["index"] == 8


def test_a_method_that_is_none(tmp_path: Path) -> None:
    result = call("saliency", *files(str(MODEL.samples[0].picture)), "--method", "gradcam")
    assert result.exit_code == 1
    assert "there is no method 'gradcam'; did you mean 'grad-cam'" in result.output


def test_visualize_class(tmp_path: Path) -> None:
    out = tmp_path / "bag.png"
    result = call("visualize-class", *files(), "--target", "Bag", *labels(), "--steps", "20", "-o", str(out))
    assert result.exit_code == 0, result.output
    assert result.output.startswith("class Bag: score ")
    assert max(size(out)) == 480
    assert "say which class" in call("visualize-class", *files()).output
    assert call("visualize-class", *files(), "--target", "3", "--plain", "--steps", "2", "-o", str(out)).exit_code == 0


def test_deepdream(tmp_path: Path) -> None:
    out, picture = tmp_path / "dream.png", str(MODEL.samples[0].picture)
    result = call("deepdream", *files(picture), "--layer", "conv2", "--octaves", "1", "--steps", "2", "-o", str(out))
    assert result.exit_code == 0, result.output
    assert out.exists()


def test_localize(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    out, picture = tmp_path / "bag.png", str(MODEL.samples[8].picture)
    result = call("localize", *files(picture), "--json", "-o", str(out))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    left, top, right, bottom = report["box"]
    assert 0 <= left < right <= 28
    assert 0 <= top < bottom <= 28
    assert out.exists()
    assert "box      left" in call("localize", *files(picture), "-o", str(out)).output


def test_evaluate_saliency(tmp_path: Path) -> None:
    for sample in MODEL.samples[:2]:
        (tmp_path / sample.picture.name).write_bytes(sample.picture.read_bytes())
    chosen = ["--method", "gradient,layer-cam", "--metrics", "deletion,sparseness,completeness"]
    result = call("evaluate-saliency", *files(str(tmp_path)), *chosen)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].split() == ["method", "deletion", "sparseness", "completeness"]
    assert [line.split()[0] for line in lines[1:5]] == ["gradient", "layer-cam", "random", "edges"]
    assert lines[3].split()[-1] == "-"
    report = json.loads(call("evaluate-saliency", *files(str(tmp_path)), *chosen, "--json").stdout)
    assert report["pictures"] == 2
    assert 0 < report["methods"]["gradient"]["sparseness"] < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "deletoin"], "there is no metric 'deletoin'; did you mean 'deletion'"),
        (["--method", "grad"], "there is no method 'grad'"),
    ],
)
def test_evaluate_saliency_says_what_is_wrong(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(MODEL.samples[0].picture.read_bytes())
    result = call("evaluate-saliency", *files(str(tmp_path)), *arguments)
    assert result.exit_code == 1
    assert message in result.output


def test_folders_without_pictures(tmp_path: Path) -> None:
    assert "holds no pictures" in call("evaluate-saliency", *files(str(tmp_path))).output
    assert "is no folder" in call("evaluate-saliency", *files(str(tmp_path / "a"))).output
    assert "Expected IMAGE after WEIGHTS" in call("localize", *files()).output


def test_the_demo_shows_methods_side_by_side(tmp_path: Path) -> None:
    out: Any = tmp_path / "demo.png"
    result = call("demo", "-o", str(out), "--methods", str(tmp_path / "methods.png"))
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "methods.png") as image:
        assert image.width == 8 * 140 + 9 * 10
        assert np.asarray(image).std() > 10
