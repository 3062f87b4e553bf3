"""pycaffe scripts of tests/scripts in GPU mode, on the real CuPy: what they write is what they write on the CPU."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import device, zoo
from tests.cli import models
from tests.cupy_on_cpu import standin

pytestmark = [
    pytest.mark.gpu,
    standin.needed(),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # open(...).write()
]

SCRIPTS = Path(__file__).parents[1] / "scripts"
MODEL = zoo.fashion_mnist()
FILES = [str(MODEL.prototxt), str(MODEL.weights)]
PICTURES = [str(sample.picture) for sample in MODEL.samples]


def run(name: str, *arguments: object) -> None:
    """The script in this process, in the mode that is set."""
    argv, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    finally:
        sys.argv = argv


@pytest.mark.parametrize("name", ["deep_dream", "feature_extraction"])
def test_a_script_writes_what_it_writes_on_the_cpu(name: str, tmp_path: Path, lazy: Any) -> None:
    written = []
    for mode in ("cpu", "gpu"):
        device.set_mode_cpu() if mode == "cpu" else device.set_mode_gpu()
        out = tmp_path / f"{mode}.npy"
        if name == "deep_dream":
            paths = models.write(tmp_path)
            run("deep_dream.py", paths["model"], paths["weights"], paths["image"], "conv", out)
        else:
            run("feature_extraction.py", *FILES, out, *PICTURES[:3])
        written.append(np.load(out))
    np.testing.assert_allclose(written[1], written[0], rtol=1e-3, atol=1e-2 if name == "deep_dream" else 1e-4)


def test_a_python_loss_trains_as_on_the_cpu(tmp_path: Path, lazy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(caffe.NotComputedWarning):
        run("python_loss.py", tmp_path / "net.prototxt")
    lines = capsys.readouterr().out.splitlines()
    assert float(lines[-1].removeprefix("w off by ")) < 1e-3
