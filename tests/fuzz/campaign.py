"""Many inputs for one target, in processes of their own that may die: what became of them, and those that failed.

python -m tests.fuzz.campaign [--inputs N | --seconds S] [--seed S] [--to FOLDER] [TARGET ...]
"""

import argparse
import json
import logging
import mmap
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import nets
from tests.fuzz.mutate import Mutator
from tests.fuzz.readers import READERS, Target

SECONDS = 5
"""Of CPU time that an input may take."""
MEMORY = 3 << 30
"""Bytes of address space of the process, in which what earlier inputs left is cached."""
KEPT = 1000
"""Inputs that showed something new and are changed further."""

__all__ = ["READERS", "Result", "Target", "run", "targets"]

Outcome = tuple[str, str]
"""Of an input: done, refused, foreign, late or died; and where."""


@dataclass
class Result:
    """What became of a target's inputs: how often each outcome, and an input for each failure, the shortest."""

    target: str
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[Outcome, bytes] = field(default_factory=dict)

    def fail(self, outcome: Outcome, data: bytes) -> None:
        """Note a failure."""
        if outcome not in self.failures or len(data) < len(self.failures[outcome]):
            self.failures[outcome] = data

    def line(self) -> str:
        """Outcomes and failures, as JSON."""
        failures = [[*outcome, data.hex()] for outcome, data in self.failures.items()]
        return json.dumps({"outcomes": self.outcomes, "failures": failures}) + "\n"


class Late(BaseException):
    """An input took too long."""


def targets() -> list[str]:
    """Their names: "layers", and the readers."""
    return ["layers", *READERS]


def run(target: str, *, inputs: int = 1 << 62, seconds: float = 1e9, seed: int = 0) -> Result:
    """Try so many inputs, or for so long; a process that dies is followed by another."""
    result, end, left, part = Result(target), time.monotonic() + seconds, inputs, 0
    while left > 0 and time.monotonic() < end:
        shared = mmap.mmap(-1, 1 << 20)
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads that do not come along
            pid = os.fork()
        if pid == 0:
            os.close(read)
            _child(target, shared, write, left, end, seed + 7919 * part)
        os.close(write)
        told = b"".join(iter(lambda read=read: os.read(read, 1 << 16), b""))
        os.close(read)
        status = os.waitpid(pid, 0)[1]
        _take(result, told)
        if os.WIFSIGNALED(status) or os.WEXITSTATUS(status):
            size = int.from_bytes(shared[:8], "little")
            result.outcomes["died"] += 1
            result.fail(("died", str(os.WTERMSIG(status))), bytes(shared[8 : 8 + size]))
        left, part = inputs - sum(result.outcomes.values()), part + 1
    return result


def _take(result: Result, told: bytes) -> None:
    """The child's lines: each has all that was counted since the one before."""
    for line in told.splitlines():
        part = json.loads(line)
        result.outcomes.update(part["outcomes"])
        for kind, where, data in part["failures"]:
            result.fail((kind, where), bytes.fromhex(data))


def _child(target: str, shared: mmap.mmap, write: int, inputs: int, end: float, seed: int) -> None:
    """Try inputs and tell; never returns."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    part = Result(target)
    told = time.monotonic()

    def tell() -> None:
        os.write(write, part.line().encode())
        part.outcomes.clear()
        part.failures.clear()

    for data, outcome in trials(target, seed, lambda data: _note(shared, data)):
        part.outcomes[outcome[0]] += 1
        if outcome[0] not in ("done", "refused"):
            part.fail(outcome, data)
        inputs -= 1
        if inputs <= 0 or (now := time.monotonic()) > end:
            break
        if now - told > 1:
            told = now
            tell()
    tell()
    os._exit(0)


def _note(shared: mmap.mmap, data: bytes) -> None:
    shared[: 8 + len(data)] = len(data).to_bytes(8, "little") + data


def trials(target: str, seed: int, before: Callable[[bytes], None]) -> Iterator[tuple[bytes, Outcome]]:
    """Inputs without end and what became of them; what showed something new is changed further."""
    call, corpus, mutate, fresh = _means(target, seed)
    seen: set[Outcome] = set()
    while True:
        data = fresh() if fresh is not None and mutate.chance.random() < 0.5 else None
        if data is None:
            data = mutate(mutate.chance.choice(corpus), mutate.chance.choice(corpus))
        before(data)
        outcome = tried(call, data)
        if outcome not in seen and len(corpus) < KEPT:
            seen.add(outcome)
            corpus.append(data)
        yield data, outcome


def _means(
    target: str, seed: int
) -> tuple[Callable[[bytes], object], list[bytes], Mutator, Callable[[], bytes] | None]:
    """What is called, whole inputs, what changes them, and what makes new ones."""
    if target == "layers":
        chance = random.Random(seed)
        return nets.run, [chance.randbytes(100)], Mutator(seed, most=400), lambda: chance.randbytes(100)
    reader = READERS[target]
    return reader.run, list(reader.seeds()), Mutator(seed, reader.words), None


def tried(call: Callable[[bytes], object], data: bytes) -> Outcome:
    """What became of one input, and at which line of the package."""
    from caffepy.errors import CaffeError, InternalError

    with _in_time():
        try:
            call(data)
        except InternalError as error:
            return "foreign", f"{str(error)[:80]} {_place(error.__cause__ or error)}"
        except CaffeError as error:
            return "refused", _place(error)
        except Late as error:
            return "late", _place(error)
        except Exception as error:
            return "foreign", f"{type(error).__name__} {str(error)[:80]} {_place(error)}"
        return "done", ""


@contextmanager
def _in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise Late

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _place(error: BaseException) -> str:
    """The last line of the package that it came through."""
    lines = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "/caffepy/" in frame.f_code.co_filename]
    place = lines[-1] if lines else None
    return f"{place.f_code.co_filename.rpartition('/caffepy/')[2]}:{place.f_lineno}" if place else "?"


def apart(target: str, *, inputs: int = 1 << 62, seconds: float = 1e9, seed: int = 0) -> Result:
    """The same in a process that has no threads."""
    options = f"--inputs {inputs} --seconds {seconds} --seed {seed} --json".split()
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.campaign", target, *options],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=True,
    )
    result = Result(target)
    _take(result, done.stdout)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run targets one after the other, print what became of their inputs, keep those that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *targets()])
    parser.add_argument("--inputs", type=int, default=1 << 62)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--to", type=Path, help="A folder for inputs that failed.")
    given = parser.parse_args(arguments)
    for target in given.targets or targets():
        result = run(target, inputs=given.inputs, seconds=given.seconds, seed=given.seed)
        if given.json:
            print(result.line(), end="", flush=True)
            continue
        print(f"{target}: {sum(result.outcomes.values())} inputs, {dict(result.outcomes)}", flush=True)
        for (kind, where), data in result.failures.items():
            print(f"    {kind} {where}: {len(data)} bytes, {zlib.crc32(data):08x}", flush=True)
            if given.to is not None:
                given.to.mkdir(parents=True, exist_ok=True)
                (given.to / f"{target}-{zlib.crc32(data):08x}").write_bytes(data)


if __name__ == "__main__":
    main()
