"""`caffepy demo`: no files needed."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from caffepy import zoo
from caffepy.cli import main


def test_it_classifies_the_samples_and_draws_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["demo"])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    verdicts = [line.split()[-1] for line in lines[1:11]]
    assert set(verdicts) <= {"right", "wrong"}
    assert lines[11] == f"{verdicts.count('right')} of 10 right"
    assert verdicts.count("right") >= 8
    for line in lines[1:11]:
        assert 0.1 <= float(re.search(r"(\d\.\d{3})  (right|wrong)$", line)[1]) <= 1
    for label in zoo.fashion_mnist().labels:
        assert sum(line.startswith(label) for line in lines[1:11]) == 1
    assert lines[12].startswith("time     all 10 at once: forward ")
    assert lines[13].startswith("picture  demo.png")
    with Image.open("demo.png") as picture:
        assert picture.size == (6 * 140 + 10 + 8 * 10, 5 * (140 + 22) + 6 * 10)


def test_another_place_for_the_picture(tmp_path: Path) -> None:
    out = tmp_path / "there.png"
    assert CliRunner().invoke(main, ["demo", "-o", str(out)]).exit_code == 0
    assert out.is_file()
