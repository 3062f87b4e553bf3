"""Finding, loading and describing the library; why it cannot be used where it cannot."""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from caffepy.device.threads import after_fork
from caffepy.errors import DeviceError

WHEELS = {"Linux": "onednn-cpu-gomp", "Windows": "onednn-cpu-vcomp"}
"""The packages that carry the library, by platform, for x86-64."""
_FILES = {"Linux": "libdnnl.so.3", "Windows": "dnnl.dll"}
_RUNTIMES = {"Linux": "libgomp.so.1", "Windows": "vcomp140.dll"}
_OPENMP = 2
_ISA_AVX2 = 0x7
_MAX_AXES = 12

Handle = ctypes.c_void_p
Dims = ctypes.c_int64 * _MAX_AXES


class _Version(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
        ("patch", ctypes.c_int),
        ("hash", ctypes.c_char_p),
        ("cpu_runtime", ctypes.c_uint),
        ("gpu_runtime", ctypes.c_uint),
    )


class Library:
    """The loaded library with its engine and stream, and the OpenMP runtime that its threads belong to."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.c = ctypes.CDLL(path)
        self.c.dnnl_version.restype = ctypes.POINTER(_Version)
        found = self.c.dnnl_version().contents
        self.version = found.major, found.minor, found.patch
        if found.major != 3:
            raise DeviceError(f"{path} is oneDNN {found.major}.{found.minor}, its interface must be that of 3.x")
        if found.cpu_runtime != _OPENMP:
            raise DeviceError(f"{path} does not run its threads by OpenMP")
        self._openmp = ctypes.CDLL(_RUNTIMES[platform.system()])
        if (self.c.dnnl_get_effective_cpu_isa() & _ISA_AVX2) != _ISA_AVX2:
            raise DeviceError("this CPU has no AVX2")
        self._declare()
        self.engine, self.stream = Handle(), Handle()
        self.check(self.c.dnnl_engine_create(ctypes.byref(self.engine), 1, ctypes.c_size_t(0)))
        self.check(self.c.dnnl_stream_create(ctypes.byref(self.stream), self.engine, 1))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=after_fork)

    def __str__(self) -> str:
        return f"oneDNN {'.'.join(map(str, self.version))} ({self.path})"

    def use_threads(self, number: int) -> None:
        """Let what this thread of Python calls use so many threads from now on."""
        self._openmp.omp_set_num_threads(number)

    @property
    def threads(self) -> int:
        """How many what this thread of Python calls may use."""
        return int(self._openmp.omp_get_max_threads())

    @contextmanager
    def using(self, number: int) -> Iterator[int]:
        """Let what this thread of Python calls use so many threads meanwhile."""
        before = self.threads
        self.use_threads(number)
        try:
            yield number
        finally:
            self.use_threads(before)

    def check(self, status: int) -> None:
        """Raise DeviceError if a call did not succeed."""
        if status:
            raise DeviceError(f"oneDNN: {_STATUS.get(status, f'status {status}')}")

    def _declare(self) -> None:
        p, i64, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
        self.c.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self.c.dnnl_primitive_desc_query_md.restype = p
        gemm = [ctypes.c_char, ctypes.c_char, i64, i64, i64, real, p, i64, p, i64, real, p, i64]
        for name, arguments in {
            "dnnl_memory_desc_get_size": [p],
            "dnnl_memory_desc_destroy": [p],
            "dnnl_memory_desc_query": [p, ctypes.c_int, p],
            "dnnl_memory_desc_clone": [p, p],
            "dnnl_memory_create": [p, p, p, p],
            "dnnl_memory_destroy": [p],
            "dnnl_memory_set_data_handle": [p, p],
            "dnnl_primitive_desc_query": [p, ctypes.c_int, ctypes.c_int, p],
            "dnnl_primitive_desc_query_md": [p, ctypes.c_int, ctypes.c_int],
            "dnnl_primitive_desc_destroy": [p],
            "dnnl_primitive_destroy": [p],
            "dnnl_primitive_attr_destroy": [p],
            "dnnl_primitive_execute": [p, p, ctypes.c_int, p],
            "dnnl_post_ops_append_sum": [p, real, ctypes.c_int32, ctypes.c_int],
            "dnnl_post_ops_append_eltwise": [p, ctypes.c_int, real, real],
            "dnnl_post_ops_append_binary": [p, ctypes.c_int, p],
            "dnnl_sgemm": gemm,
        }.items():
            getattr(self.c, name).argtypes = arguments


_STATUS = {
    1: "out of memory",
    2: "invalid arguments",
    3: "unimplemented",
    4: "last implementation reached",
    5: "runtime error",
    6: "not required",
}


@cache
def load() -> Library | str:
    """The library, or in a sentence's end why it cannot be used and what to do."""
    machine = platform.machine().lower()
    if platform.system() not in WHEELS or machine not in ("x86_64", "amd64"):
        return f"there is no oneDNN wheel for {platform.system()} on {machine}"
    reasons = []
    for path in _candidates():
        try:
            return Library(path)
        except (OSError, AttributeError, DeviceError) as error:
            reasons.append(str(error))
    wheel = WHEELS[platform.system()]
    if not reasons:
        return f"oneDNN is not installed: pip install {wheel}"
    remedy = "apt-get install libgomp1" if "libgomp" in reasons[0] else f"pip install --force-reinstall {wheel}"
    return f"oneDNN does not load: {reasons[0]}; {remedy} may help"


def _candidates() -> Iterator[str]:
    """Where the library may be: as the user says; else the wheel's, or a newer one of conda or of the system."""
    if given := os.environ.get("CAFFEPY_ONEDNN"):
        yield given
        return
    name = _FILES[platform.system()]
    wheel = _in_wheel(name)
    found = [os.path.join(folder, name) for folder in _folders()]
    others = [path for path in found if os.path.exists(path) and path != wheel]
    yield from sorted([*([wheel] if wheel else []), *others], key=_version, reverse=True)
    yield name


def _folders() -> list[str]:
    """Where environments and systems keep libraries, those searched first at the head."""
    if platform.system() == "Windows":
        return [os.path.join(sys.prefix, "Library", "bin")]
    asked = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    return [*asked, os.path.join(sys.prefix, "lib"), "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"]


def _version(path: str) -> tuple[int, ...]:
    """As the names of the file and of what stands beside it say: (3, 2) of libdnnl.so.3.2; () where none does."""
    name = os.path.basename(path).removesuffix(".3") + "."
    beside = [entry for entry in os.listdir(os.path.dirname(os.path.realpath(path))) if entry.startswith(name)]
    numbers = [entry.removeprefix(name).split(".") for entry in beside]
    return max((tuple(map(int, parts)) for parts in numbers if all(map(str.isdigit, parts))), default=())


def _in_wheel(name: str) -> str | None:
    import importlib.metadata  # here, for it takes a tenth of what importing caffepy does

    try:
        files = importlib.metadata.files(WHEELS[platform.system()]) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [file for file in files if file.name == name]
    return os.path.realpath(str(found[0].locate())) if found else None
