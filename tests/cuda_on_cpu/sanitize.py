"""Python in a process of its own whose kernels are built with sanitizers.

python -m tests.cuda_on_cpu.sanitize address -m pytest tests/layers/activation/test_relu.py

address  AddressSanitizer and UBSan: accesses out of bounds of global, shared and local arrays, misaligned vectors,
         overflow of signed integers. About twice slower.
thread   ThreadSanitizer: accesses that no barrier, warp function, fence or launch orders, within a block and between
         blocks, for 512 threads of neighbouring blocks at a time. About 20 times slower: small launches only.
"""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cuda_on_cpu import build

LIBRARIES = {"address": "libasan.so", "thread": "libtsan.so"}

_UNKNOWN = re.compile(r"<null> <null> \((\S+\.so)\+(0x[0-9a-f]+)\)")
_NO_ADDRESS_RANDOMIZATION = 0x0040000  # of personality(2): TSan knows some layouts of memory only


@dataclass(frozen=True)
class Outcome:
    """How such a process ended: its exit status, what it printed, and what the sanitizers reported, "" if nothing."""

    returncode: int
    output: str
    report: str


def unavailable(kind: str) -> str | None:
    """Why nothing can be run under this sanitizer here, or None."""
    reason = build.unavailable()
    if reason is None and _library(kind) is None:
        return f"{build.compiler()} has no {LIBRARIES[kind]}"
    return reason


def run(kind: str, arguments: Sequence[str], timeout: float | None = None) -> Outcome:
    """`python *arguments` under the sanitizer. A report makes its exit status non-zero."""
    with tempfile.TemporaryDirectory() as folder:
        # Reports go to files: an exit in the middle of a test would take what pytest has captured with it.
        report_file = f"{folder}/report"
        environment = os.environ | {
            "CAFFEPY_CUDA_ON_CPU_SANITIZER": kind,
            "CAFFEPY_CUDA_ON_CPU_REPORT": report_file,
            "LD_PRELOAD": str(_library(kind)),
            "ASAN_OPTIONS": f"detect_leaks=0:exitcode=99:log_path={report_file}",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "TSAN_OPTIONS": f"exitcode=99:log_path={report_file}",
            "OPENBLAS_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            preexec_fn=lambda: ctypes.CDLL(None).personality(_NO_ADDRESS_RANDOMIZATION),
        )
        report = "".join(file.read_text() for file in sorted(Path(folder).iterdir()))
        report = _UNKNOWN.sub(_with_place, report)
    return Outcome(done.returncode or (99 if report else 0), done.stdout, report)


def _with_place(frame: re.Match[str]) -> str:
    """The function and line of a frame in an object that was loaded after the sanitizer had looked for them."""
    before_the_return = hex(int(frame[2], 16) - 1)
    command = ["addr2line", "-f", "-C", "-e", str(build.cache_folder() / Path(frame[1]).name), before_the_return]
    function, place = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[:2]
    return f"{function.split('(')[0]} {place} ({frame[1]}+{frame[2]})"


def _library(kind: str) -> Path | None:
    command = [build.compiler(), f"-print-file-name={LIBRARIES[kind]}"]
    found = Path(subprocess.run(command, capture_output=True, text=True).stdout.strip())
    return found.resolve() if found.is_absolute() else None


if __name__ == "__main__":
    outcome = run(sys.argv[1], sys.argv[2:])
    sys.stdout.write(outcome.output + outcome.report)
    sys.exit(outcome.returncode)
