"""examples/fashion_mnist, the way over pictures and a database: every step of its README, on a few drawn pictures."""

import gzip
import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from caffepy.cli import main
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.solver.parse_log import parse_log
from tests.shared import ROOT

EXAMPLE = ROOT / "examples" / "fashion_mnist"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(EXAMPLE)
    yield importlib.import_module("pictures")
    for name in ("pictures", "train"):
        del sys.modules[name]


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize("name", ["solver.prototxt", "lenet_solver.prototxt"])
def test_pictures_database_and_training(
    name: str, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lmdb")
    chance = np.random.default_rng(0)
    images, labels = chance.integers(0, 256, (70, 28, 28)), chance.integers(0, 10, 70)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    monkeypatch.chdir(tmp_path)
    script.main(["--data", str(tmp_path), "pictures"])
    with Image.open("pictures/test/00069.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), images[69])
    for part, more in (("train", ["--shuffle", "--seed", "0"]), ("test", [])):
        arguments = ["convert-imageset", "--gray", *more, "pictures/", f"pictures/{part}.txt", f"{part}_lmdb"]
        assert CliRunner().invoke(main, arguments).exit_code == 0
    for path in EXAMPLE.glob("*.prototxt"):
        shutil.copy(path, tmp_path)
    param = prototxt.read(name, SolverParameter)
    param.max_iter, param.display, param.test_iter[0] = 2, 1, 1
    prototxt.write(name, param)
    result = CliRunner().invoke(main, ["train", name, "--log", "log"])
    assert result.exit_code == 0, result.output
    assert [row["NumIters"] for row in parse_log("log").train] == [0, 1]
    assert Path(f"{param.snapshot_prefix}_iter_2.caffemodel").exists()
