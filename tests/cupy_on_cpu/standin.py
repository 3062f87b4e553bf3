"""Puts the stand-in in CuPy's way before CuPy is imported, and tells tests what it has seen."""

import ctypes
import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cuda_on_cpu import build as kernels
from tests.cupy_on_cpu import build

TWINS = Path(__file__).parent / "twins"
MEMORY_ALLOCATION, NO_BINARY, ILLEGAL_ADDRESS, LAUNCH_FAILED, UNKNOWN = 2, 209, 700, 719, 999
"""CUresult's numbers."""
CAPABILITY = int(os.environ.get("FAKECUDA_CAPABILITY", "90"))

_RUNTIME = "cupy_backends.cuda.api.runtime"
_state: dict[str, Any] = {"driver": None, "calls": 0}


def needed() -> pytest.MarkDecorator:
    """The marker of tests that the stand-in alone can run."""
    reason = "needs CuPy on the CPU: python -m pytest -p tests.cupy_on_cpu.plugin"
    return pytest.mark.skipif(not installed(), reason=reason)


def installed() -> bool:
    """Whether GPUs of this process are the stand-in's."""
    return _state["driver"] is not None


def install() -> None:
    """Load the driver and have CuPy's import find its runtime over it; then import CuPy."""
    loaded = ctypes.CDLL(str(build.driver()))  # not global: NVRTC would find this library's own C++ symbols
    for name, result in (("fault", ctypes.c_char_p), ("held", ctypes.c_size_t), ("pending", ctypes.c_size_t)):
        getattr(loaded, f"fakecuda_{name}").restype = result
    for name in ("calls", "waits"):
        getattr(loaded, f"fakecuda_{name}").restype = ctypes.c_long
    loaded.fakecuda_fail.argtypes = [ctypes.c_long, ctypes.c_int]
    loaded.fakecuda_set_resolver(_resolve)
    _state["driver"] = loaded
    sys.meta_path.insert(0, _Finder())
    os.environ["CUPY_CACHE_DIR"] = str(kernels.cache_folder() / "cupy")  # images whose texts are not known are no use
    kernels.runtime()
    _listen()


# ---- for tests


def fault() -> str:
    """What went wrong on the GPU since the last time, forgiven now; empty if nothing."""
    words: str = _state["driver"].fakecuda_fault().decode()
    _state["driver"].fakecuda_forgive()
    return words


def held(device: int) -> int:
    """Bytes allocated on that GPU; of page-locked host memory for -1."""
    return int(_state["driver"].fakecuda_held(device))


def contexts() -> list[int]:
    """The GPUs on which this process has taken memory for a context."""
    flags, active = ctypes.c_uint(), ctypes.c_int()
    found = []
    for device in range(int(os.environ.get("FAKECUDA_DEVICES", "1"))):
        _state["driver"].cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active))
        if active.value:
            found.append(device)
    return found


def waits() -> int:
    """How often the host has waited for the GPU."""
    return int(_state["driver"].fakecuda_waits())


@contextmanager
def failing(nth: int, result: int) -> Iterator[None]:
    """Let the `nth` call from now that can fail answer with `result`."""
    _state["driver"].fakecuda_fail(nth, result)
    try:
        yield
    finally:
        _state["calls"] = int(_state["driver"].fakecuda_calls())
        _state["driver"].fakecuda_fail(0, 0)


def calls() -> int:
    """How many calls there were in the last `failing` block."""
    return int(_state["calls"])


def every_call_fails_once(use: Callable[[], object], result: int, most: int = 200) -> Iterator[BaseException | None]:
    """Calls `use` again and again, in which first the first call of CUDA answers `result`, then the second ...; gives
    what it raised each time, and ends behind its last call, or after `most` of them."""
    for nth in range(1, most + 1):
        raised: BaseException | None = None
        with failing(nth, result):
            try:
                use()
            except Exception as error:
                raised = error.with_traceback(None)  # whose frames hold arrays
        if nth > calls():
            return
        fault()  # forgiven
        yield raised


@contextmanager
def order(name: str) -> Iterator[None]:
    """Run what streams hold in that order meanwhile; see driver/driver.cpp."""
    _state["driver"].fakecuda_set_order(name.encode())
    try:
        yield
    finally:
        _state["driver"].fakecuda_set_order(os.environ.get("FAKECUDA_ORDER", "eager").encode())


# ---- the way in


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != _RUNTIME:
            return None
        file = str(build.runtime())
        return importlib.util.spec_from_file_location(
            name, file, loader=importlib.machinery.ExtensionFileLoader(name, file)
        )


# ---- what NVRTC compiles, and what is run in its place


def _listen() -> None:
    """Have every image that NVRTC gives written down with the text that it is of."""
    from cupy_backends.cuda.libs import nvrtc

    texts: dict[int, str] = {}
    create_program = nvrtc.createProgram

    def create(source: Any, *args: Any) -> Any:
        program = create_program(source, *args)
        texts[program] = source if isinstance(source, str) else source.decode()
        return program

    def getter(get: Any) -> Any:
        @functools.wraps(get)
        def noting(program: Any) -> Any:
            image = get(program)
            _key(image).parent.mkdir(parents=True, exist_ok=True)
            _key(image).write_text(texts[program])
            return image

        return noting

    nvrtc.createProgram = create
    nvrtc.getCUBIN, nvrtc.getPTX = getter(nvrtc.getCUBIN), getter(nvrtc.getPTX)


def _key(image: bytes) -> Path:
    """CuPy drops a cubin's last byte, a zero, and relies on the one that ends every bytes object."""
    name = hashlib.sha256(image.rstrip(b"\0")).hexdigest()
    return kernels.cache_folder() / "texts" / f"{name}.cu"


@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t)
def _resolve(image: int, size: int, path: int, room: int) -> None:
    try:
        answer = _library(ctypes.string_at(image, size))
    except BaseException as error:  # goes on in C
        answer = f"!{type(error).__name__}: {error}"
    raw = answer.encode()[: room - 1] + b"\0"
    ctypes.memmove(path, raw, len(raw))


def _library(image: bytes) -> str:
    if not _key(image).exists():
        return f"!no text is known for an image of {len(image)} bytes"
    text = _key(image).read_text()
    named = re.findall(r'^#line 1 "(.+)"', text, re.MULTILINE)
    stem = named[0] if named else "unnamed.cu"
    if "cupy/" in text and "CArray" in text:
        text, stem = _of_cupy(text), "of_cupy.cu"
    if "clock64" in text:
        text = "inline long long clock64() { static thread_local long long now; return now += 1 << 30; }\n" + text
    return str(kernels.library(text, stem, CAPABILITY)._name)


def _of_cupy(text: str) -> str:
    """CuPy's own elementwise kernels over stand-ins for its headers; of one axis and contiguous, as fill is here."""
    if re.search(r"CArray<\w+, (?!1, 1)", text):
        raise NotImplementedError(f"a kernel of CuPy's over arrays that are not flat\n{text[-2000:]}")
    return (TWINS / "cupy_fill.h").read_text() + re.sub(r"#include <cupy/.*>", "", text)
