"""Bugs planted in kernels, each of which has to be seen, and correct kernels, of which nothing may be said."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest

from caffepy.errors import DeviceError
from tests.cuda_on_cpu import EmulatedCuda, sanitize
from tests.cuda_on_cpu.planted import CASES, run

SCHEDULES = ("ascending", "descending", "random")

CORRECT = {
    "barrier": np.concatenate([np.arange(64 * block, 64 * block + 64)[::-1] for block in range(3)]),
    "second barrier": 3 * (63 - np.arange(64)) + 3,
    "warp barrier": np.arange(64) ^ 1,
    "wait for a copy": 63 - np.arange(64),
    "atomics between blocks": None,
    "last block": None,
    "warp sum": None,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", [name for name, expected in CORRECT.items() if expected is not None])
def test_the_correct_kernel_is_correct_in_every_schedule(name: str, schedule: str) -> None:
    np.testing.assert_array_equal(run(name, EmulatedCuda(schedule, seed=3)), CORRECT[name])


@pytest.mark.parametrize(
    "name", ["missing barrier", "missing warp barrier", "unwritten shared", "missing wait for a copy"]
)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_nobody_wrote_yet_is_nan(name: str, schedule: str) -> None:
    assert np.isnan(run(name, EmulatedCuda(schedule, seed=3))).any()


@pytest.mark.parametrize(
    "name", ["missing barrier", "missing second barrier", "missing warp barrier", "race between blocks"]
)
def test_what_depends_on_the_order_differs_between_schedules(name: str) -> None:
    results = [run(name, EmulatedCuda(schedule, seed=3)) for schedule in SCHEDULES]
    assert any(not np.array_equal(a, b, equal_nan=True) for a, b in itertools.combinations(results, 2))


def test_another_poison_shows_what_a_maximum_hides() -> None:
    name = "unwritten shared under a maximum"
    assert not np.array_equal(run(name, EmulatedCuda()), run(name, EmulatedCuda(poison=0x7F)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("divergent barrier", r"divergent barrier: threads wait at planted.cu:\d and at planted.cu:\d"),
        ("divergent warp", r"divergent warp: lanes of warp \d meet at planted.cu:\d and at planted.cu:\d"),
        ("deadlock", r"deadlock: of 64 threads 32 wait at a barrier \(planted.cu:3\), 32 for lanes .*\(planted.cu:2\)"),
        ("lane outside its mask", "mask leaves out the calling lane"),
        ("read past global", r"thread \(63,0,0\) of block \(0,0,0\): access out of bounds: byte 256 of .* 256 bytes"),
        ("write past global", "access out of bounds: byte 256 of an allocation of 256 bytes"),
        ("write past dynamic shared", r"access out of bounds: byte 2\d\d of an allocation of 240 bytes"),
        ("misaligned vector", "misaligned access to a vector type"),
        ("null pointer", "access out of bounds: address .*, which no allocation holds"),
        ("division by zero", r"thread \(\d+,0,0\) of block \(0,0,0\): integer division by zero"),
    ],
)
def test_faults_are_errors_that_say_where(name: str, schedule: str, message: str) -> None:
    with pytest.raises(DeviceError, match=f"{name.replace(' ', '_')}: .*{message}"):
        run(name, EmulatedCuda(schedule, seed=3))
    run("barrier", EmulatedCuda(schedule))  # the device goes on


def test_a_fault_on_another_os_thread_is_an_error_too() -> None:
    source = """extern "C" __global__ void k(float* y) {
      for (int i = 0; i < 100000; ++i) y[threadIdx.x] = y[threadIdx.x] * 0.5f + i;
      if (blockIdx.x == 7) y[1 << 16] = 1;
    }"""
    device = EmulatedCuda(workers=4)
    y = device.zeros(64, np.float32)
    with pytest.raises(DeviceError, match=r"block \(7,0,0\): access out of bounds: byte 262144 of"):
        device.compile(source, "k.cu").function("k")((8,), (64,), (y,))


def test_threads_that_have_returned_are_not_waited_for() -> None:
    np.testing.assert_array_equal(run("barrier after a return", EmulatedCuda()), np.repeat([np.nan, 1], 32))


def test_a_fault_of_the_host_still_kills_as_before() -> None:
    code = (
        "import ctypes; from tests.cuda_on_cpu import EmulatedCuda; from tests.cuda_on_cpu.planted import run\n"
        "run('barrier', EmulatedCuda()); ctypes.string_at(8)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -11


def sanitized(kind: str, *names: str) -> sanitize.Outcome:
    """The planted kernels of these names under that sanitizer; skips where there is none."""
    reason = sanitize.unavailable(kind)
    if reason is not None:
        pytest.skip(reason)
    return sanitize.run(kind, ["-m", "tests.cuda_on_cpu.planted", *names], timeout=300)


@pytest.mark.parametrize("kind", ["address", "thread"])
def test_sanitizers_say_nothing_of_correct_kernels(kind: str) -> None:
    outcome = sanitized(kind, *CORRECT)
    assert outcome.report == ""
    assert outcome.returncode == 0, outcome.output


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("read past global", r"heap-buffer-overflow .*planted.cu:2 in read_past_global"),
        ("write past global", r"heap-buffer-overflow .*planted.cu:2 in write_past_global"),
        (
            "write past static shared",
            r"planted.cu:3:\d+: runtime error: index 64 out of bounds for type 'float \[64\]'",
        ),
        ("write past shared by pointer", r"global-buffer-overflow .*planted.cu:5 in write_past_shared_by_pointer"),
        ("write past dynamic shared", r"heap-buffer-overflow .*planted.cu:3 in write_past_dynamic_shared"),
        ("write past local", r"planted.cu:3:\d+: runtime error: index 4 out of bounds for type 'float \[4\]'"),
        ("misaligned vector", r"planted.cu:3:\d+: runtime error: .* misaligned address"),
        ("signed overflow", r"planted.cu:2:\d+: runtime error: signed integer overflow"),
    ],
)
def test_address_sanitizer_and_ubsan_see(name: str, report: str) -> None:
    outcome = sanitized("address", name)
    assert outcome.returncode != 0
    assert re.search(report, outcome.report), outcome.report


RACES = {
    "missing barrier": (5, 7),
    "missing second barrier": (6, 8),
    "missing warp barrier": (4, 6),
    "race between blocks": (2, 2),
    "last block without a fence": (5, 10),
}


@pytest.fixture(scope="module")
def races() -> str:
    """What ThreadSanitizer reports of all these, each about the accesses on two lines."""
    return sanitized("thread", *RACES).report


@pytest.mark.parametrize("name", RACES)
def test_thread_sanitizer_sees(name: str, races: str) -> None:
    kernel = name.replace(" ", "_")
    reports = [report for report in races.split("WARNING: ThreadSanitizer: data race") if kernel in report]
    assert reports, races
    lines = {int(line) for report in reports for line in re.findall(rf"{kernel} \S*planted.cu:(\d+)", report)}
    assert lines >= set(RACES[name]), reports


def test_every_planted_kernel_is_used_by_some_test() -> None:
    with open(__file__) as file:
        text = file.read()
    assert [name for name in CASES if f'"{name}"' not in text] == []
