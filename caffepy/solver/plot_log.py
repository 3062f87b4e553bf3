"""Curves of a training log: losses, what tests say, and the rate, over iterations."""

import os
from collections.abc import Sequence
from os import PathLike
from typing import Any

from caffepy.errors import ArgumentError, StateError
from caffepy.proto.files import replacing
from caffepy.solver.parse_log import Log, Row, parse_log

ENDINGS = (".png", ".svg", ".pdf")
_NO_CURVES = ("NumIters", "Seconds", "LearningRate")
_PALE = 0.35


def plot_log(logs: Sequence[str | PathLike[str]], path: str | PathLike[str], *, title: str = "") -> None:
    """Draw the curves of one log or several to a .png, .svg or .pdf.

    Above the losses of training and tests, below what else is tested, such as accuracies, and the rate.
    Raises StateError where matplotlib is not installed, ArgumentError for another ending, and what parse_log raises.
    """
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in ENDINGS:
        raise ArgumentError(f"{os.fspath(path)}: give a name that ends in {', '.join(ENDINGS)}")
    parsed = {os.path.basename(os.fspath(log)): parse_log(log) for log in logs}
    figure = _figure(parsed, title)
    with replacing(path) as beside:
        figure.savefig(beside, format=ending[1:], dpi=150)


def _figure(logs: dict[str, Log], title: str) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise StateError("plotting needs matplotlib; install caffepy[viz]") from error
    others = [name for log in logs.values() for name in _names(log.test) if not _is_loss(name)]
    figure = Figure(figsize=(8, 7 if others else 5), layout="constrained")
    rooms = figure.subplots(3 if others else 2, 1, sharex=True, height_ratios=[3, 3, 1] if others else [3, 1])
    for name, log in logs.items():
        _draw(log, f"{name}: " if len(logs) > 1 else "", *rooms)
    rooms[0].set_ylabel("loss")
    if others:
        rooms[1].set_ylabel("tests")
    rooms[-1].set_ylabel("rate")
    rooms[-1].set_xlabel("iteration")
    for room in rooms:
        room.grid(alpha=_PALE)
        if room.has_data() and room is not rooms[-1]:
            room.legend(frameon=False)
    if title:
        figure.suptitle(title)
    return figure


def _draw(log: Log, prefix: str, losses: Any, *rest: Any) -> None:
    for name in _names(log.train):
        losses.plot(*_curve(log.train, name), label=f"{prefix}{name}, training", linewidth=1)
    for name in _names(log.test):
        room = losses if _is_loss(name) else rest[0]
        room.plot(*_curve(log.test, name), label=f"{prefix}{name}, test", marker="o", markersize=3)
    rows = log.train or log.test
    rest[-1].plot([row["NumIters"] for row in rows], [row["LearningRate"] for row in rows], drawstyle="steps-post")


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row if name not in _NO_CURVES))


def _is_loss(name: str) -> bool:
    return "loss" in name.lower()


def _curve(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    points = [(row["NumIters"], row[name]) for row in rows if name in row]
    return [x for x, _ in points], [y for _, y in points]
