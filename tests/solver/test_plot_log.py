"""Curves of logs: which there are, in which forms they are written, and what is wrong."""

from pathlib import Path

import pytest
from PIL import Image

from caffepy.errors import ArgumentError
from caffepy.solver import plot_log
from tests.solver.test_parse_log import GOLDEN


def test_png_and_svg(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    log = GOLDEN / "train_log.txt"
    plot_log.plot_log([log], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20
    plot_log.plot_log([log, GOLDEN / "train_log_year_prefix.txt"], tmp_path / "curves.svg", title="two runs")
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")


def test_every_output_has_its_curve() -> None:
    pytest.importorskip("matplotlib")
    log = plot_log.parse_log(GOLDEN / "train_log.txt")
    figure = plot_log._figure({"log": log}, "title")
    losses, tests, rate = figure.axes
    curves = {line.get_label(): [*map(tuple, line.get_xydata())] for line in losses.lines}
    assert set(curves) == {"loss, training", "loss, test"}
    assert curves["loss, test"] == [(0, 2.27852), (20, 2.1158), (40, 1.72195), (60, 1.31912)]
    assert [line.get_label() for line in tests.lines] == ["accuracy, test"]
    assert len(rate.lines) == 1


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"give a name that ends in \.png"):
        plot_log.plot_log([GOLDEN / "train_log.txt"], tmp_path / "curves.txt")
