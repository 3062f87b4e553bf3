"""Logs read back: real Caffe's give the tables that its own tool makes of them; our own ones, too."""

import math
from pathlib import Path

import pytest

from caffepy.errors import MissingFileError, ProtoError
from caffepy.solver.parse_log import parse_log, write_csv

GOLDEN = Path(__file__).parents[1] / "golden" / "train"
LINE = "I1231 23:59:58.{:06d} 4711 solver.cpp:1] {}\n"


@pytest.mark.parametrize("kind", ["train", "test"])
def test_caffes_log_gives_caffes_table(kind: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "table", getattr(parse_log(GOLDEN / "train_log.txt"), kind))
    assert (tmp_path / "table").read_bytes() == (GOLDEN / f"train_log.txt.{kind}").read_bytes()


def test_a_prefix_with_the_year_says_the_same() -> None:
    with_year, without = parse_log(GOLDEN / "train_log_year_prefix.txt"), parse_log(GOLDEN / "train_log.txt")
    for kind in ("train", "test"):
        ours, theirs = getattr(with_year, kind), getattr(without, kind)
        assert [{**row, "Seconds": 0} for row in ours] == [{**row, "Seconds": 0} for row in theirs]
        assert all(0 < row["Seconds"] < 1 for row in ours)


def test_displayed_losses() -> None:
    losses = parse_log(GOLDEN / "train_log.txt").loss
    assert [row["NumIters"] for row in losses] == [0, 10, 20, 30, 40, 50, 60]
    assert losses[0]["loss"] == 2.33838


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "log"
    path.write_text("".join(LINE.format(1000 * i, line) for i, line in enumerate(lines)))
    return path


def test_several_test_nets_and_values(tmp_path: Path) -> None:
    log = parse_log(
        written(
            tmp_path,
            "Solving net",
            "Iteration 0, Testing net (#0)",
            "    Test net output #0: acc = 0.5",
            "Iteration 0, Testing net (#1)",
            "    Test net output #0: acc = 0.25",
            "    Test net output #1: each = 1",
            "    Test net output #2: each = 2",
            "Iteration 0 (0 iter/s, 0s/1 iters), loss = -nan",
            "    Train net output #0: loss = nan (* 1 = nan loss)",
            "Iteration 0, lr = 1e-05",
            "Iteration 1, Testing net (#0)",
            "    Test net output #0: acc = 1e-2",
        )
    )
    first = {"NumIters": 0, "Seconds": 0.002, "LearningRate": 1e-5, "acc": 0.5, "acc#1": 0.25, "each#1": 2}
    assert log.test == [first, {"NumIters": 1, "Seconds": 0.011, "LearningRate": 1e-5, "acc": 0.01}]
    assert math.isnan(log.train[0]["loss"])
    assert math.isnan(log.loss[0]["loss"])


def test_a_log_over_new_year_and_with_other_text(tmp_path: Path) -> None:
    path = written(tmp_path, "Solving net", "Iteration 0, lr = 0.1", "    Train net output #0: loss = 1")
    path.write_text(
        "some shell\n"
        + path.read_text()
        + "I0101 00:00:08.000000 4711 solver.cpp:1] Iteration 9 (1 iter/s, 0s/1 iters), loss = 2\n"
        + "I0101 00:00:08.500000 4711 solver.cpp:1]     Train net output #0: loss = 2\nI9999 99:99:99.000000 1 a] x\n"
    )
    assert [round(row["Seconds"], 3) for row in parse_log(path).train] == [0.002, 10.5]


def test_a_run_that_was_resumed(tmp_path: Path) -> None:
    path = written(tmp_path, "x", "Solving a", "Iteration 0, Testing net (#0)", "    Test net output #0: acc = 1")
    path.write_text(path.read_text() + "I1231 23:59:59.001000 7 a.cpp:1] Solving a\n" + path.read_text()[-160:])
    assert [row["Seconds"] for row in parse_log(path).test] == [0.002, 0.002]


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="No such file"):
        parse_log(tmp_path / "none")
    with pytest.raises(ProtoError, match="no iteration is logged in it"):
        parse_log(written(tmp_path, "Solving net"))
