"""Every Python and shell block of the guides and the README runs, in order, in a folder with what they speak of."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import caffepy
from caffepy.device.cuda import why_not
from tests.docs.workplace import CLASSES, SIDE, furnish

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("docs/guides/*.md")),
    *(ROOT / "docs" / f"{name}.md" for name in ("saliency", "training", "data", "batch")),
    ROOT / "README.md",
]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LONG = ("python3 -m venv", "pip install", "caffepy explore deploy")
"""Commands that other tests run: the README's two, and a server that does not end."""

PROGRAMS = {
    name: place.split(":")
    for name, place in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items()
}


def words() -> dict[str, object]:
    """What a reader has at hand, as far as a guide says no more of it than its name."""
    one = np.zeros((1, CLASSES), np.float32)
    one[0, 281] = 1
    rng = np.random.default_rng(1)
    image = rng.normal(0, 50, (1, 3, SIDE, SIDE)).astype(np.float32)
    return {
        "caffepy": caffepy,
        "caffe": caffepy,
        "np": np,
        "image": image,
        "images": image,
        "scores": one,
        "diff": one,
        "one_hot": one,
        "pixels": rng.integers(0, 255, (3, 8, 8), np.uint8),
        "label": 3,
        "param": caffepy.proto.caffe_pb2.TransformationParameter(),
        "__name__": "guide",
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_it_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lmdb", reason="the guides' database is an LMDB")
    text, space = document.read_text(encoding="utf-8"), words()
    made = re.findall(r"^caffepy convert-imageset .* (\w+)$", text, re.MULTILINE)
    furnish(tmp_path, {"train_lmdb", "test_lmdb", "val_lmdb"} - set(made))
    monkeypatch.chdir(tmp_path)
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        line = text.count("\n", 0, block.start(2))
        if block[1] == "python":
            code = compile("\n" * line + block[2], str(document), "exec")
            if "set_mode_gpu()" not in block[2] or why_not(0) is None:
                exec(code, space)
        else:
            shell(block[2], tmp_path)


def shell(commands: str, folder: Path) -> None:
    """Run the caffepy commands, with this environment's."""
    bin_ = folder / "bin"
    bin_.mkdir(exist_ok=True)
    for name, (module, function) in PROGRAMS.items():
        (bin_ / name).write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
        (bin_ / name).chmod(0o755)
    path = os.pathsep.join([str(bin_), os.environ["PATH"]])
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for command in commands.replace("\\\n", " ").splitlines():
        if command.strip() and not command.startswith(("#", *LONG)):
            done = subprocess.run(
                ["bash", "-c", command],
                env={**os.environ, "PATH": path, "PYTHONPATH": python_path},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
