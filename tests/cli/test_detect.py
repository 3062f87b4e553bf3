"""`caffepy detect`: each window as classify sees the picture that it cuts out."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import caffepy as caffe
from caffepy.cli import main
from tests.cli import models

WINDOWS = [(0, 0, 10, 10), (2, 3, 16, 20)]


def written(folder: Path) -> list[str]:
    paths = models.write(folder)
    lines = [f"picture.png,{','.join(map(str, window))}" for window in WINDOWS]
    (folder / "windows.csv").write_text("\n".join(["filename,ymin,xmin,ymax,xmax", *lines]))
    return [paths["model"], paths["weights"], str(folder / "windows.csv")]


def by_hand(folder: Path) -> np.ndarray:
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST, weights=str(folder / "small.caffemodel"))
    picture = caffe.io.load_image(folder / "picture.png")
    parts = [caffe.io.resize_image(picture[a:c, b:d], (12, 10)) for a, b, c, d in WINDOWS]
    mean = np.array([104, 117, 123]).reshape(3, 1, 1)
    net.blobs["data"].reshape(2, 3, 12, 10)
    return net.forward(data=np.stack([part.transpose(2, 0, 1)[::-1] * 255 - mean for part in parts]))["prob"]


@pytest.mark.parametrize("ending", ["csv", "h5"])
def test_predictions_of_windows(tmp_path: Path, ending: str) -> None:
    files, out = written(tmp_path), tmp_path / f"out.{ending}"
    result = CliRunner().invoke(main, ["detect", *files, str(out), "--context-pad", "0"])
    assert (result.exit_code, result.stderr) == (0, "")
    if ending == "csv":
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        windows = np.array([[row[name] for name in ("ymin", "xmin", "ymax", "xmax")] for row in rows], float)
        values = np.array([[row[f"class{i}"] for i in range(7)] for row in rows], float)
        assert rows[0]["filename"] == str(tmp_path / "picture.png")
    else:
        with h5py.File(out) as file:
            windows, values = file["window"][()], file["prediction"][()]
            assert file["filename"][1].decode() == str(tmp_path / "picture.png")
    np.testing.assert_array_equal(windows, WINDOWS)
    np.testing.assert_allclose(values, by_hand(tmp_path), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,ymin,xmin,ymax,xmax\n", "has no windows"),
        ("filename,ymin,xmin\npicture.png,1,2\n", "line 2: expected filename,ymin,xmin,ymax,xmax"),
        ("filename,ymin,xmin,ymax,xmax\npicture.png,1,2,x,4\n", "line 2: expected"),
        ("filename,ymin,xmin,ymax,xmax\npicture.png,1,2,,4\n", "line 2: expected"),
    ],
)
def test_windows_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    files = written(tmp_path)
    (tmp_path / "windows.csv").write_text(text)
    result = CliRunner().invoke(main, ["detect", *files, str(tmp_path / "out.csv")])
    assert result.exit_code == 1
    assert message in result.stderr
