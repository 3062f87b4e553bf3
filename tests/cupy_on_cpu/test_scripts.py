"""The pycaffe scripts of tests/scripts in GPU mode, on the real CuPy: what they write is what they write on the CPU."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffepy as caffe
from caffepy import device
from tests.cli import models
from tests.cupy_on_cpu import standin
from tests.scripts.test_scripts import BAG, FILES, MODEL, PICTURES, SCRIPTS, fully_convolutional

pytestmark = [
    pytest.mark.gpu,
    standin.needed(),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # open(...).write()
]


def run(name: str, *arguments: object) -> None:
    """The script in this process, in the mode that is set."""
    argv, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    finally:
        sys.argv = argv


def written(name: str, folder: Path, paths: dict[str, Path]) -> list[Any]:
    """What the script leaves in files, as arrays."""
    out = folder / "out.npy"
    if name == "deep_dream":
        run("deep_dream.py", paths["model"], paths["weights"], paths["image"], "conv", out)
    elif name == "feature_extraction":
        run("feature_extraction.py", *FILES, out, *PICTURES[:3])
    elif name == "saliency":
        run("saliency.py", *FILES, PICTURES[BAG], BAG, out)
    elif name == "net_surgery":
        (folder / "full.prototxt").write_text(fully_convolutional())
        weights = folder / "full.caffemodel"
        run("net_surgery.py", FILES[0], folder / "full.prototxt", FILES[1], PICTURES[BAG], weights)
        net = caffe.Net(str(folder / "full.prototxt"), caffe.TEST, weights=str(weights))
        return [blob.data.copy() for blobs in net.params.values() for blob in blobs]
    elif name == "filters":
        pictures = [folder / "filters.png", folder / "activations.png"]
        run("filters.py", *FILES, PICTURES[0], *pictures)
        return [np.asarray(Image.open(picture), np.float32) for picture in pictures]
    else:
        (folder / "labels.txt").write_text("\n".join(MODEL.labels))
        run("classification.py", *FILES, folder / "labels.txt", *PICTURES[:3])
        return []
    return [np.load(out)]


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("deep_dream", 1e-2),
        ("feature_extraction", 1e-4),
        ("saliency", 1e-4),
        ("net_surgery", 0),
        ("filters", 1),
        ("classification", 0),
    ],
)
def test_a_script_does_what_it_does_on_the_cpu(
    name: str,
    tolerance: float,
    tmp_path: Path,
    lazy: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, said = [], []
    paths = models.write(tmp_path)
    monkeypatch.setattr("caffe.set_mode_cpu", lambda: None)  # a line that users change
    for set_mode in (device.set_mode_cpu, device.set_mode_gpu):
        set_mode()
        found.append(written(name, tmp_path, paths))
        said.append(re.sub(r"\d+\.\d+", "", capsys.readouterr().out))
    assert device.current() is lazy
    for of_gpu, of_cpu in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(of_gpu, of_cpu, rtol=1e-3 if tolerance else 0, atol=tolerance)
    assert said[1] == said[0]
    assert said[0]


def test_a_python_loss_trains_as_on_the_cpu(tmp_path: Path, lazy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(caffe.NotComputedWarning):
        run("python_loss.py", tmp_path / "net.prototxt")
    lines = capsys.readouterr().out.splitlines()
    assert float(lines[-1].removeprefix("w off by ")) < 1e-3


def test_a_net_written_in_python_trains(tmp_path: Path, lazy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("netspec_lenet.py", tmp_path / "lenet.prototxt")
    assert capsys.readouterr().out.splitlines()[2] == "falls: True"
