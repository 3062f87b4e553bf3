"""The example of docs/add-a-layer.md, run as it stands there."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import caffepy
from caffepy import kernels
from caffepy.errors import KernelError, LayerError
from caffepy.layer import TYPES
from tests.gpu_mode import downloaded, running
from tests.nets import make, noise

DOCUMENT = Path(__file__).parents[1] / "docs" / "add-a-layer.md"
NET = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 5 } } }
layer { name: "y" type: "Softsign" bottom: "x" top: "y" python_param { param_str: "%s" } }
"""


def block(language: str) -> str:
    return re.search(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "softsign.py").write_text(block("python"))
    (tmp_path / "softsign.cu").write_text(block("cuda"))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("softsign", None)
    TYPES.pop("Softsign", None)
    for name in ("softsign_forward", "softsign_backward"):
        kernels.ALL.pop(name, None)


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", "gpu-random"])
def test_it_runs(folder: Path, mode: str) -> None:
    __import__("softsign")
    assert "Softsign" in caffepy.layer_type_list()
    with running(mode):
        net = make(NET % "0.5")
        for seed in range(3):
            x, diff = noise(3, 5, seed=seed), noise(3, 5, seed=seed + 7)
            np.testing.assert_allclose(net.forward(x=x)["y"], x / (0.5 + abs(x)), rtol=1e-5)
            slope = diff * 0.5 / (0.5 + abs(x)) ** 2
            np.testing.assert_allclose(net.backward(y=diff)["x"], slope, rtol=1e-5)
            found = net.gradient({"y": diff})["x"]
            np.testing.assert_allclose(found if mode == "cpu" else downloaded(found), slope, rtol=1e-5)


def test_its_errors(folder: Path) -> None:
    __import__("softsign")
    with pytest.raises(LayerError, match=r"layer 'y' \(Softsign\): a must be above 0, got -1"):
        make(NET % "-1")
    with pytest.raises(LayerError, match="takes 1 bottom"):
        make(NET.replace('bottom: "x"', 'bottom: "x" bottom: "x"') % "1")


def test_without_cuda_bodies(folder: Path) -> None:
    (folder / "softsign.cu").unlink()
    __import__("softsign")
    net = make(NET % "1")
    net.forward()
    with running("gpu-ascending"), pytest.raises(KernelError, match=r"kernel file .*softsign.cu is missing"):
        net.forward()
