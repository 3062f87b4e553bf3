"""What every suite gets, and a net's engines: started, compared with ours, and only then timed."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import case
from benchmarks.peers import Peer
from benchmarks.turns import Engine

TOLERANCES = {"forward": 1e-3, "gradient": 5e-2, "backward": 5e-2}
"""How far results may be apart, relative to their size: a ReLU's sign that comes out otherwise moves all below it."""


@dataclass
class Settings:
    """What was asked for."""

    nets: Sequence[str]
    batches: Sequence[int]
    threads: int
    rounds: int
    peers: dict[str, Peer]
    ways: Sequence[str] = ("forward", "gradient", "backward")
    methods: Sequence[str] | None = None
    pictures: int = 256
    deadline: float = float("inf")
    """By time.monotonic(); what has not begun by then is left out."""
    notes: list[str] = field(default_factory=list)
    """What was left out, and what went wrong."""

    def late(self, what: str) -> bool:
        """Whether there is no time left for it; it is noted then."""
        if time.monotonic() < self.deadline:
            return False
        self.notes.append(f"{what}: left out, the time was over")
        return True

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Whatever goes wrong meanwhile is noted, and what comes next is measured all the same."""
        try:
            yield
        except Exception as error:
            self.notes.append(f"{what}: {type(error).__name__}: {error}")

    def python_of(self, engine: str) -> dict[str, str]:
        """The interpreter that runs it, as an argument of Engine."""
        return {"python": self.peers[engine].python} if engine in self.peers else {}


@contextmanager
def prepared(net: str) -> Iterator[Path]:
    """A folder with the net's weights, for case.write."""
    with tempfile.TemporaryDirectory() as name:
        case.prepare(net, Path(name))
        yield Path(name)


@contextmanager
def engines(
    names: Sequence[str], folder: Path, settings: Settings, what: str
) -> Iterator[dict[str, tuple[Engine, list[str]]]]:
    """Those that can take the folder's net, each with its ways."""
    started: dict[str, Engine] = {}
    try:
        found = {}
        for name in names:
            started[name] = Engine(
                "worker", name, folder, settings.threads, threads=settings.threads, **settings.python_of(name)
            )
            try:
                ways = started[name].hear()
            except RuntimeError as error:
                ways = {"error": str(error)}
            if isinstance(ways, dict):
                settings.notes.append(f"{what}: not by {name}: {ways['error']}")
            else:
                found[name] = started[name], [way for way in ways if way in settings.ways]
        yield found
    finally:
        for engine in started.values():
            engine.close()


def agreeing(
    able: dict[str, Engine], way: str, folder: Path, settings: Settings, what: str
) -> tuple[dict[str, Engine], dict[str, float]]:
    """The engines whose results are ours, and how far they are from ours; others are noted and not timed."""
    differences: dict[str, float] = {}
    for name, engine in able.items():
        try:
            engine.ask(f"check {way}")
        except RuntimeError as error:
            settings.notes.append(f"{what}: {way} by {name} fails: {error}")
            continue
        differences[name] = difference(folder / f"{name}-{way}.npz", folder / f"caffepy-{way}.npz")
        if not differences[name] <= TOLERANCES[way]:
            settings.notes.append(f"{what}: {way} by {name} differs from ours by {differences[name]:.1e}: not timed")
    good = {name: able[name] for name, far in differences.items() if far <= TOLERANCES[way]}
    return good, {name: float(f"{far:.2e}") for name, far in differences.items() if name != "caffepy"}


def difference(theirs: Path, ours: Path) -> float:
    """The norm of the difference of all arrays, over the norm of ours; infinite where shapes or values do not fit."""
    with np.load(theirs) as a, np.load(ours) as b:
        if len(a.files) != len(b.files) or any(a[name].shape != b[name].shape for name in a.files):
            return float("inf")
        apart = sum(float(np.square(a[name] - b[name], dtype=np.float64).sum()) for name in a.files)
        size = sum(float(np.square(b[name], dtype=np.float64).sum()) for name in b.files)
    found = float(np.sqrt(apart / max(size, 1e-300)))
    return found if np.isfinite(found) else float("inf")
