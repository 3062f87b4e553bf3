"""`caffepy extract-features`: each kind of file holds what the blobs did."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import caffepy as caffe
from caffepy.cli import main
from tests.cli import models


def pictures(folder: Path, count: int) -> list[str]:
    names = [str(folder / f"{i}.png") for i in range(count)]
    for i, name in enumerate(names):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 10, 3), np.uint8)).save(name)
    return names


def by_hand(paths: dict[str, str], images: list[str], blob: str) -> np.ndarray:
    net = caffe.Net(paths["model"], caffe.TEST, weights=paths["weights"])
    data = [caffe.io.load_image(name).transpose(2, 0, 1)[::-1] * 255 for name in images]
    net.blobs["data"].reshape(len(data), 3, 12, 10)
    net.forward(data=np.stack(data) - np.array([104, 117, 123]).reshape(3, 1, 1))
    return net.blobs[blob].data.copy()


@pytest.mark.parametrize("ending", ["npy", "npz", "h5"])
def test_features_are_the_blobs_of_the_pictures(tmp_path: Path, ending: str) -> None:
    paths, images, out = models.write(tmp_path), pictures(tmp_path, 5), tmp_path / f"features.{ending}"
    blobs = ["fc"] if ending == "npy" else ["fc", "conv"]
    options = [word for name in blobs for word in ("--blob", name)]
    arguments = [paths["model"], paths["weights"], *images, "--batch", "2", *options, "-o", str(out)]
    result = CliRunner().invoke(main, ["extract-features", *arguments])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "fc  5x7" in result.stdout.splitlines()
    if ending == "npy":
        found = {"fc": np.load(out)}
    elif ending == "npz":
        found = dict(np.load(out))
        assert found["images"].tolist() == images
    else:
        with h5py.File(out) as file:
            found = {name: file[name][()] for name in blobs}
            assert [name.decode() for name in file["images"][()]] == images
    for name in blobs:
        np.testing.assert_allclose(found[name], by_hand(paths, images, name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--blob", "fc", "-o", "x.txt"], "the name must end in .npy, .npz, .h5, .hdf5"),
        (["--blob", "fc", "--blob", "conv", "-o", "x.npy"], "an .npy takes one blob"),
        (["--blob", "nothing", "-o", "x.npy"], "this net has no blob 'nothing'"),
    ],
)
def test_wrong_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str) -> None:
    paths = models.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["extract-features", paths["model"], paths["weights"], paths["image"], *options])
    assert result.exit_code != 0
    assert message in result.stderr


@pytest.mark.parametrize("ending", ["npy", "npz", "h5"])
def test_a_picture_that_cannot_be_read_leaves_no_half_file(tmp_path: Path, ending: str) -> None:
    paths, images = models.write(tmp_path), pictures(tmp_path, 3)
    Path(images[2]).write_text("no picture")
    before = sorted(tmp_path.iterdir())
    out = str(tmp_path / f"features.{ending}")
    arguments = [paths["model"], paths["weights"], *images, "--batch", "1", "--blob", "fc", "-o", out]
    result = CliRunner().invoke(main, ["extract-features", *arguments])
    assert result.exit_code == 1
    assert "2.png" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["../../x", "/abs", "a//b", "..\\x", "images", "file", ".", "a\0b"])
def test_names_that_mean_something_else_in_an_archive(tmp_path: Path, name: str) -> None:
    paths, images = models.write(tmp_path), pictures(tmp_path, 1)
    for ending in ("npz", "h5"):
        arguments = [paths["model"], paths["weights"], *images, "--blob", name, "-o", str(tmp_path / f"out.{ending}")]
        result = CliRunner().invoke(main, ["extract-features", *arguments])
        assert result.exit_code == 1
        assert "cannot be the name of an array" in result.stderr
        assert not (tmp_path / f"out.{ending}").exists()
