"""Kernels compiled by NVRTC as CuPy would compile them, without a GPU, and what the compiler reports.

for report in compile_report(source, "relu_forward", ARCHITECTURES):
    assert report.spilled_bytes == 0
    assert report.blocks_per_multiprocessor(threads=256, dynamic_shared_bytes=0) >= 4
"""

import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from caffepy.errors import KernelError
from tests.kernels.occupancy import MULTIPROCESSORS, blocks_per_multiprocessor

ARCHITECTURES = tuple(MULTIPROCESSORS)

# What CuPy 14's RawModule(code, options=("-std=c++17",)) passes on, less its include paths: kernels include nothing
# that is not written in.
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")

_WHEELS = ("cu13", "cuda_nvrtc")
_FOLDERS = ("/usr/local/cuda/lib64", "/usr/local/cuda-13.0/lib64", "/usr/lib/x86_64-linux-gnu")


@dataclass(frozen=True)
class Report:
    """One kernel for one architecture (90 for sm_90): what ptxas said of it."""

    name: str
    arch: int
    registers: int
    """A thread's."""
    spilled_bytes: int
    """A thread's, stored and loaded again because registers ran out."""
    stack_bytes: int
    """A thread's, of local memory: spills, and arrays whose indices are not known when compiling."""
    shared_bytes: int
    """A block's, static."""

    def blocks_per_multiprocessor(self, threads: int, dynamic_shared_bytes: int = 0) -> int:
        """How many blocks of `threads` run at once on a multiprocessor; 0 if not even one fits."""
        return blocks_per_multiprocessor(self.arch, threads, self.registers, self.shared_bytes + dynamic_shared_bytes)


@dataclass(frozen=True)
class Variant:
    """A kernel as an operation launches it by default, and what its plan assumes."""

    source: str
    """The compiled text: constants, then the kernel file with its local includes written in."""
    name: str
    threads: int
    dynamic_shared_bytes: int = 0
    blocks_assumed: int = 1
    """Per multiprocessor."""

    def complaints(self, archs: Sequence[int] = ARCHITECTURES) -> list[str]:
        """What is wrong with it on each of `archs`: spilled bytes, fewer blocks than assumed. Empty if nothing."""
        found = []
        for report in compile_report(self.source, self.name, archs):
            where = f"{self.name} on sm_{report.arch} ({report.registers} registers)"
            if report.spilled_bytes:
                found.append(f"{where}: {report.spilled_bytes} bytes spilled")
            blocks = report.blocks_per_multiprocessor(self.threads, self.dynamic_shared_bytes)
            if blocks < self.blocks_assumed:
                found.append(f"{where}: {blocks} blocks per multiprocessor, its plan assumes {self.blocks_assumed}")
        return found


def unavailable() -> str | None:
    """Why nothing can be compiled here, or None."""
    if _library() is None:
        return "NVRTC is not installed: pip install nvidia-cuda-nvrtc"
    return None


def compile_report(source: str, name: str, archs: Sequence[int] = ARCHITECTURES) -> list[Report]:
    """The kernel `name` of `source`, compiled for each of `archs`.

    Raises KernelError if it does not compile or if there is no such kernel.
    """
    with ThreadPoolExecutor(2) as pool:
        compiled = list(pool.map(lambda arch: _compiled(source, arch), archs))
    for reports in compiled:
        if name not in reports:
            raise KernelError(f"the source has no kernel {name!r}, only {sorted(reports)}")
    return [reports[name] for reports in compiled]


@functools.lru_cache(maxsize=256)
def _compiled(source: str, arch: int) -> dict[str, Report]:
    """Every kernel of `source`."""
    log = _compile_log(source, [*OPTIONS, f"-arch=sm_{arch}", "--ptxas-options=-v"])
    return {report.name: report for report in parse_log(log, arch)}


def parse_log(log: str, arch: int) -> list[Report]:
    """The reports in what ptxas prints under -v."""

    def total(pattern: str, part: str) -> int:
        return sum(map(int, re.findall(pattern, part)))

    return [
        Report(
            name=part.split("'")[0],
            arch=arch,
            registers=total(r"Used (\d+) registers", part),
            spilled_bytes=total(r"(\d+) bytes spill", part),
            stack_bytes=total(r"(\d+) bytes stack frame", part),
            shared_bytes=total(r"(\d+) bytes smem", part),
        )
        for part in log.split("Compiling entry function '")[1:]
    ]


@functools.cache
def _library() -> ctypes.CDLL | None:
    spec = importlib.util.find_spec("nvidia")
    places = (spec and spec.submodule_search_locations) or []
    folders = [*(Path(place, wheel, "lib") for place in places for wheel in _WHEELS), *map(Path, _FOLDERS)]
    for folder in folders:
        for file in sorted(folder.glob("libnvrtc.so.*"), reverse=True):
            for builtins in folder.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(builtins))  # NVRTC opens it by name alone
            return ctypes.CDLL(str(file))
    return None


def _compile_log(source: str, options: list[str]) -> str:
    library = _library()
    if library is None:
        raise KernelError(unavailable())
    program = ctypes.c_void_p()
    _check(library, library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None))
    try:
        encoded = [option.encode() for option in options]
        result = library.nvrtcCompileProgram(program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
        size = ctypes.c_size_t()
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        _check(library, result, log.value.decode())
        return log.value.decode()
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _check(library: ctypes.CDLL, result: int, log: str = "") -> None:
    if result:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise KernelError(f"NVRTC: {library.nvrtcGetErrorString(result).decode()}\n{log}")
