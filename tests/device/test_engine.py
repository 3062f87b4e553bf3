"""Which engine serves the CPU: asked for, found, or not; and how many threads it may use."""

import ctypes
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import caffepy
from caffepy.device import engine, threads
from caffepy.device.onednn import library
from caffepy.errors import ArgumentError, DeviceError
from tests.cpu.roads import needs_onednn, road
from tests.nets import CHAIN, make


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CAFFEPY_CPU", "CAFFEPY_ONEDNN"))}
    return subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, check=False
    )


RUN = """
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
from tests.nets import CHAIN, make
net = make(CHAIN)
for _ in range(3):
    net.forward()
import caffepy
print(caffepy.cpu_engine())
"""


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ArgumentError, match="unknown engine 'mkl'; there are auto, onednn, numpy"):
        caffepy.set_cpu_engine("mkl")
    assert "CAFFEPY_CPU is 'mkl'" in python(RUN, CAFFEPY_CPU="mkl").stderr


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
def test_threads_are_at_least_one(number: object) -> None:
    with pytest.raises(ArgumentError, match="at least 1 thread"):
        caffepy.set_threads(number)  # type: ignore[arg-type]


def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_of_environment", lambda: 3)
    assert threads.threads() == 3
    caffepy.set_threads(2)
    assert threads.threads() == 2
    caffepy.set_threads(None)
    monkeypatch.setattr(threads, "_of_environment", lambda: None)
    assert threads.threads() == threads.cores() <= (os.cpu_count() or 1)


def test_threads_heed_the_affinity_and_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(threads, "_quota", lambda: None)
    assert threads.cores() == 6
    monkeypatch.setattr(threads, "_quota", lambda: 2)
    assert threads.cores() == 2


@needs_onednn
def test_the_engine_that_serves_is_the_one_asked_for() -> None:
    assert caffepy.cpu_engine() == os.environ.get("CAFFEPY_CPU", "onednn").replace("auto", "onednn")
    for name in ("numpy", "onednn"):
        with road(name):
            net = make(CHAIN)
            net.forward()
            assert bool(net.execution.replay.on_cpu.captured()) == (name == "onednn")
            assert ("oneDNN 3." in engine.cpu_engine_reason()) == (name == "onednn")


def test_a_library_that_does_not_load_leaves_numpy_and_one_line() -> None:
    done = python(RUN, CAFFEPY_ONEDNN=os.devnull)
    assert done.stdout.split() == ["numpy"]
    said = [line for line in done.stderr.splitlines() if "NumPy" in line]
    assert len(said) == 1
    assert "does not load" in said[0]
    assert "pip install" in said[0]


def test_asked_for_by_name_it_must_load() -> None:
    done = python(RUN, CAFFEPY_ONEDNN=os.devnull, CAFFEPY_CPU="onednn")
    assert "asks for oneDNN, which cannot be used" in done.stderr
    code = "import caffepy; caffepy.set_cpu_engine('onednn')"
    assert "DeviceError: oneDNN cannot be used" in python(code, CAFFEPY_ONEDNN=os.devnull).stderr


def test_where_there_is_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert library.load.__wrapped__() == "there is no oneDNN wheel for Darwin on arm64"


@pytest.mark.skipif(platform.system() != "Linux", reason="names of versions are those of Linux")
def test_the_newest_library_comes_first_and_the_wheels_among_equals(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = {}
    for place, version in (("wheel", "3.2"), ("conda", "3.10"), ("system", "3.2"), ("old", "3.1.1")):
        folder = tmp_path / place
        folder.mkdir()
        for file in ("libdnnl.so", "libdnnl.so.3", f"libdnnl.so.{version}"):
            (folder / file).touch()
        paths[place] = str(folder / "libdnnl.so.3")
    monkeypatch.delenv("CAFFEPY_ONEDNN", raising=False)
    monkeypatch.setattr(library, "_in_wheel", lambda _: paths["wheel"])
    monkeypatch.setattr(library, "_folders", lambda: [str(tmp_path / p) for p in ("old", "system", "conda", "none")])
    expected = [paths[place] for place in ("conda", "wheel", "system", "old")]
    assert list(library._candidates()) == [*expected, "libdnnl.so.3"]
    monkeypatch.setenv("CAFFEPY_ONEDNN", "/mine")
    assert list(library._candidates()) == ["/mine"]


@needs_onednn
def test_another_interface_or_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = library.load()
    assert isinstance(found, library.Library)

    class Old:
        def __init__(self, version: tuple[int, int], isa: int = 0x7) -> None:
            answer = library._Version(*version, 0, b"", 2, 0)
            self.dnnl_version = _Function(ctypes.pointer(answer))
            self.dnnl_get_effective_cpu_isa = _Function(isa)

    class _Function:
        def __init__(self, answer: object) -> None:
            self.answer, self.restype = answer, None

        def __call__(self) -> object:
            return self.answer

    for fake, message in ((Old((2, 7)), "its interface must be that of 3.x"), (Old((3, 2), 0x1), "no AVX2")):
        monkeypatch.setattr(library.ctypes, "CDLL", lambda _, fake=fake: fake)
        with pytest.raises(DeviceError, match=message):
            library.Library("libdnnl.so.3")


def test_importing_says_nothing_and_loads_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        done = python("import caffepy, sys; print('caffepy.device.onednn.handles' in sys.modules)")
    assert done.stderr == ""
