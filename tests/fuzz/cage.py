"""Trials in processes of their own, with little time and memory: what became of them is told, whatever it was.

    python -m tests.fuzz.cage < trials.jsonl

Reads trials, one JSON object a line, `{"target": ..., "path": ...}`, forks for each, and prints one Outcome a line. The
parent has imported the package and started no thread, so a trial costs some milliseconds.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

SECONDS = 5
"""Of CPU time that a trial may take."""
WAIT = 60
"""Seconds that it may take by the clock: only something that waits for ever takes so long, even on a busy machine."""
MEMORY = 1 << 30
"""Bytes of address space that it may take, the interpreter and its libraries included."""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    kind   "done", "refused" (an exception of caffepy.errors), "foreign" (any other), "died" (by a signal), "late"
    text   the exception, or the signal's name
    """

    target: str
    path: str
    kind: str
    text: str
    seconds: float
    megabytes: float

    @property
    def good(self) -> bool:
        """Whether it is one of the two ends that are promised."""
        return self.kind in ("done", "refused")


def run(trials: Iterable[tuple[str, str | os.PathLike[str]]], **environment: str) -> list[Outcome]:
    """Every trial, a target's name and what it is given, run in a fork of one warm process."""
    lines = "".join(json.dumps({"target": target, "path": os.fspath(path)}) + "\n" for target, path in trials)
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.cage"],
        input=lines,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | threads | environment,
    )
    if done.returncode:
        raise AssertionError(f"the process that runs trials ended with {done.returncode}:\n{done.stderr}")
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


def one(target: str, path: str) -> Outcome:
    """One trial, in a fork of this process."""
    from tests.fuzz.targets import TARGETS

    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(read)
        _child(TARGETS[target], path, write)
    os.close(write)
    said = b""
    while piece := os.read(read, 1 << 16):
        said += piece
    os.close(read)
    _, status, used = os.wait4(pid, 0)
    took, most = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        late = number in (signal.SIGXCPU, signal.SIGALRM)
        return Outcome(target, path, "late" if late else "died", number.name, took, most)
    kind, _, text = said.decode(errors="replace").partition(" ")
    return Outcome(target, path, kind or "died", text, took, most)


def _child(target, path: str, write: int) -> None:
    """Try it; never returns."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WAIT)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.write(write, said(target, path).encode(errors="backslashreplace"))
    os._exit(0)


def said(target, what) -> str:
    """The kind of outcome and the exception, after a space."""
    from caffepy.errors import CaffeError, InternalError

    try:
        target(what)
    except BaseException as error:
        if isinstance(error, CaffeError) and not isinstance(error, InternalError):
            return f"refused {type(error).__name__}: {str(error)[:500]}"
        if isinstance(error, InternalError) and error.__cause__ is not None:
            error = error.__cause__  # whatever it is, it is what the trial is to find
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = place and f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
        return f"foreign {type(error).__name__}: {str(error)[:300]} ({where})"
    return "done"


if __name__ == "__main__":
    from tests.fuzz.targets import quiet

    quiet()
    for _line in sys.stdin:
        print(json.dumps(asdict(one(**json.loads(_line)))), flush=True)
