"""Logs of training read back, Caffe's own too: a table of its training outputs and one of its tests' (parse_log.py)."""

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from os import PathLike

from caffepy.data.files import read_file
from caffepy.errors import ProtoError
from caffepy.proto.files import replacing

Row = dict[str, float]
"""NumIters, Seconds, LearningRate, then each output by its name."""

_PREFIX = re.compile(
    r"[IWEF](?P<year>\d{4})?(?P<month>\d\d)(?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d)\.(?P<micro>\d{6}) +\d+ [^]]+\] "
)
_NUMBER = r"[-+]?(?:nan|inf|\d*\.?\d+(?:e[-+]?\d+)?)"
_ITERATION = re.compile(r"Iteration (\d+)")
_RATE = re.compile(rf"lr = ({_NUMBER})", re.IGNORECASE)
_OUTPUT = re.compile(rf"(Train|Test) net output #(\d+): (\S+) = ({_NUMBER})", re.IGNORECASE)
_TEST_NET = re.compile(r"Testing net \(#(\d+)\)")
_LOSS = re.compile(rf"Iteration (\d+).*, loss = ({_NUMBER})", re.IGNORECASE)


@dataclass
class Log:
    """What a log holds: rows in the order of iterations."""

    train: list[Row] = field(default_factory=list)
    """Outputs of the trained net, as they were displayed."""
    test: list[Row] = field(default_factory=list)
    """Outputs of test net 0; further nets' under `name#1`, `name#2`, ..."""
    loss: list[Row] = field(default_factory=list)
    """NumIters and loss as it was displayed: averaged over average_loss iterations, the last pass's too."""


def parse_log(path: str | PathLike[str]) -> Log:
    """Read a log with either of glog's prefixes; what else stands in the file is passed over.

    Seconds count from the first line `Solving`: a run that was resumed goes on. A rate is the one logged last before
    its row; the first row, where none was, takes the second's. Raises MissingFileError; ProtoError where there is no
    iteration.
    """
    found = _Reader().read(StringIO(read_file(path).decode("utf-8", "replace"), newline=None))
    if not (found.train or found.test or found.loss):
        raise ProtoError(f"{os.fspath(path)}: no iteration is logged in it; expected a log of caffe train")
    for rows in (found.train, found.test):
        if len(rows) > 1:
            rows[0]["LearningRate"] = rows[1]["LearningRate"]
    return found


def write_csv(path: str | PathLike[str], rows: Sequence[Row]) -> None:
    """Write rows as Caffe's parse_log.py does; columns that come later in a run are empty before."""
    names = dict.fromkeys(name for row in rows for name in row)
    with replacing(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows(rows)


class _Reader:
    def __init__(self) -> None:
        self._log = Log()
        self._start: datetime | None = None
        self._solving = False
        self._last: datetime | None = None
        self._iteration, self._rate, self._net = -1, math.nan, 0
        self._places = {"train": (0, 0), "test": (0, 0)}

    def read(self, lines: Iterable[str]) -> Log:
        for when, text in self._dated(lines):
            if self._start is None or ("Solving" in text and not self._solving):
                self._start, self._solving = when, "Solving" in text
            if match := _ITERATION.search(text):
                self._iteration = int(match[1])
            if self._iteration < 0:
                continue
            if match := _RATE.search(text):
                self._rate = float(match[1])
            if match := _TEST_NET.search(text):
                self._net = int(match[1])
            if match := _LOSS.search(text):
                self._log.loss.append({"NumIters": float(match[1]), "loss": float(match[2])})
            if match := _OUTPUT.search(text):
                place = self._net if match[1].lower() == "test" else 0, int(match[2])
                seconds = (when - self._start).total_seconds()
                self._add(match[1].lower(), place, match[3], float(match[4]), seconds)
        return self._log

    def _add(self, kind: str, place: tuple[int, int], name: str, value: float, seconds: float) -> None:
        """Of an output with several values the last one stays, as in Caffe's tool."""
        rows = self._log.train if kind == "train" else self._log.test
        if not rows or rows[-1]["NumIters"] != self._iteration or place <= self._places[kind]:
            rows.append({"NumIters": float(self._iteration), "Seconds": seconds, "LearningRate": self._rate})
        self._places[kind] = place
        rows[-1][f"{name}#{place[0]}" if place[0] else name] = value

    def _dated(self, lines: Iterable[str]) -> Iterator[tuple[datetime, str]]:
        """Lines with their time; a log without years that goes from December to January has gone into the next."""
        later = 0
        for line in lines:
            match = _PREFIX.match(line)
            if match is None:
                continue
            year = int(match["year"] or 2000 + later)
            try:
                when = datetime.fromisoformat(
                    f"{year:04d}-{match['month']}-{match['day']} {match['time']}.{match['micro']}"
                )
            except ValueError:
                continue
            if not match["year"] and self._last is not None and when.month < self._last.month:
                later += 1
                when = when.replace(year=when.year + 1)
            self._last = when
            yield when, line[match.end() :]
