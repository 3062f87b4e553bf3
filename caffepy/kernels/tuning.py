"""Choices between ways to launch an operation: by formula, or measured on the running GPU and remembered on disk.

choice = pick("convolution_forward.cu", problem, by_formula, options)     a plan asks; a winner is used if there is one

with measuring() as measured:       # every product computed meanwhile is tried in each way
    net.forward()

Winners are in tuning.json in cache_folder(), by GPU, kernel file with its source's hash, and problem.
"""

import functools
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from caffepy import device, kernels
from caffepy.device import source
from caffepy.errors import ProtoError
from caffepy.proto.files import replacing

Option = TypeVar("Option")

REPEATS, ROUNDS = 10, 5
"""Runs of a candidate in a captured graph, one after the other, and how often the graph is timed for a median."""

_local = threading.local()
_writing = threading.Lock()


class TuningWarning(UserWarning):
    """Remembered winners cannot be read or written; choices are by formula then."""


@dataclass(frozen=True)
class Measured:
    """What measuring one problem gave: the fastest candidate, its milliseconds, and those of the formula's choice."""

    file: str
    problem: str
    winner: str
    milliseconds: float
    by_formula: float


def pick(
    file: str, problem: object, by_formula: Callable[[], Option], options: Callable[[], Mapping[str, Option]]
) -> Option:
    """The option that measuring found fastest for this problem of a kernel file on this GPU, else `by_formula()`.

    `str(problem)` tells problems apart; so do the options' names, the first of which is the formula's choice.
    """
    running = device.current()
    if isinstance(running, device.Cpu):
        return by_formula()
    asked: dict[tuple[str, str], list[str]] | None = getattr(_local, "asked", None)
    if asked is not None:
        asked[file, str(problem)] = list(options())
    forced: tuple[tuple[str, str], str] | None = getattr(_local, "forced", None)
    if forced is not None and forced[0] == (file, str(problem)):
        return options()[forced[1]]
    winners = _winners()
    name = winners.find(running, file, str(problem)) if winners.known else None
    return by_formula() if name is None else options().get(name) or by_formula()


@contextmanager
def measuring() -> Iterator[list[Measured]]:
    """Measure each problem that this thread's operations meet and no winner is known for; the list tells what came out.

    Operations run as usual besides, their candidates on copies of their arrays. Launches that were captured before are
    neither seen nor changed: forget them before and afterwards.
    """
    found: list[Measured] = []

    def watch(kernel: kernels.Kernel[Any], args: Sequence[Any], constants: Mapping[str, Any]) -> bool:
        running = device.current()
        if not isinstance(running, device.Cpu) and kernel.plan is not None and any(map(running.is_array, args)):
            found.extend(_measure(running, kernel, args, constants))
        return True

    with kernels.observed(watch):
        yield found


def reload() -> None:
    """Read the remembered winners anew, the next time that any is asked for."""
    _winners.cache_clear()


def cache_folder() -> Path:
    """Where caffepy keeps what it can make again: $CAFFEPY_CACHE, or `caffepy` among the user's caches."""
    if named := os.environ.get("CAFFEPY_CACHE"):
        return Path(named)
    if sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "caffepy"


def _measure(
    running: device.Gpu, kernel: kernels.Kernel[Any], args: Sequence[Any], constants: Mapping[str, Any]
) -> Iterator[Measured]:
    asked: dict[tuple[str, str], list[str]] = {}
    _local.asked = asked
    try:
        kernel.launches(*args, **constants)
    finally:
        _local.asked = None
    for (file, problem), names in asked.items():
        if _winners().find(running, file, problem) is not None:
            continue
        copies = [_copy(running, value) if running.is_array(value) else value for value in args]
        times = {}
        for name in names:
            _local.forced = (file, problem), name
            try:
                times[name] = _milliseconds(running, lambda copies=copies: kernel(*copies, **constants))  # type: ignore[misc]
            finally:
                _local.forced = None
        winner = min(names, key=times.__getitem__)
        _winners().remember(running, file, problem, winner)
        yield Measured(file, problem, winner, times[winner], times[names[0]])


def _milliseconds(running: device.Gpu, body: Callable[[], None]) -> float:
    """Of one run of `body` among others, without the host's time."""

    def repeated() -> None:
        for _ in range(REPEATS):
            body()

    with kernels.observed(lambda *_: True), running.ordered(running.stream()):
        body()  # compiles
        graph = running.capture(repeated)
        graph.launch()
        return float(np.median([running.elapsed(graph.launch) for _ in range(ROUNDS)])) / REPEATS


def _copy(running: device.Gpu, array: Any) -> Any:
    copied = running.zeros(array.size, array.dtype).reshape(array.shape)
    running.copy(array, copied)
    return copied


class _Winners:
    """The file's contents: {gpu: {kernel file: {"source": hash, "winners": {problem: name}}}}."""

    def __init__(self, path: Path):
        self._path = path
        self.known: dict[str, dict[str, dict[str, Any]]] = {}
        try:
            self.known = _read(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            warnings.warn(
                f"{path} holds no measured choices that can be read ({error}); they are made by formula. "
                "Delete the file, or measure again",
                TuningWarning,
                stacklevel=2,
            )

    def find(self, running: device.Gpu, file: str, problem: str) -> str | None:
        """The winner's name, None where none is known."""
        entry = self.known.get(_name(running), {}).get(file)
        if entry is None or entry["source"] != _hash(source.text(file)):
            return None
        winner: str | None = entry["winners"].get(problem)
        return winner

    def remember(self, running: device.Gpu, file: str, problem: str, name: str) -> None:
        """Keep it, and add it to what is on disk by now; winners of another source of the file go."""
        with _writing:
            try:
                on_disk = _read(self._path)
            except (OSError, ValueError):
                on_disk = {}  # not there yet, or told of when it was opened
            for known in (self.known, on_disk):
                files = known.setdefault(_name(running), {})
                digest = _hash(source.text(file))
                if files.get(file, {}).get("source") != digest:
                    files[file] = {"source": digest, "winners": {}}
                files[file]["winners"][problem] = name
            try:
                _write(self._path, json.dumps(on_disk, indent=1))
            except (OSError, ProtoError) as error:
                warnings.warn(
                    f"measured choices cannot be kept in {self._path} ({error}); this process uses them. "
                    "Set CAFFEPY_CACHE to a folder that can be written",
                    TuningWarning,
                    stacklevel=2,
                )


@functools.cache
def _winners() -> _Winners:
    return _Winners(cache_folder() / "tuning.json")


def _read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Raises OSError, or ValueError where it is something else."""
    known = json.loads(path.read_text(encoding="utf-8"))
    try:
        whole = all(
            isinstance(entry["source"], str) and all(isinstance(name, str) for name in entry["winners"].values())
            for files in known.values()
            for entry in files.values()
        )
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError("it is laid out otherwise")
    return known  # type: ignore[no-any-return]


def _write(path: Path, text: str) -> None:
    """Beside it, then renamed: whoever reads finds the old text or the new one."""

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        Path(beside).write_text(text, encoding="utf-8")


def _name(running: device.Gpu) -> str:
    return f"{running.title}, compute capability {running.compute_capability / 10}"


@functools.lru_cache(maxsize=64)
def _hash(text: str) -> str:
    import hashlib  # here, for it loads OpenSSL

    return hashlib.sha256(text.encode()).hexdigest()[:16]
