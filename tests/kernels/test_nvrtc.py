"""Compiling by NVRTC: the figures it reports are the compiler's, a spill is seen, and the options are CuPy's."""

from typing import Any

import pytest

from caffepy.errors import KernelError
from tests.kernels import nvrtc
from tests.kernels.nvrtc import ARCHITECTURES, Variant, compile_report, parse_log

REVERSE = """
constexpr int THREADS = 256;
extern "C" __global__ void __launch_bounds__(THREADS) reverse(const float* x, float* y) {
  __shared__ float s[THREADS];
  s[threadIdx.x] = x[blockIdx.x * THREADS + threadIdx.x];
  __syncthreads();
  y[blockIdx.x * THREADS + threadIdx.x] = s[THREADS - 1 - threadIdx.x];
}
"""

# 96 sums kept at once, in at most 32 or 64 registers.
SPILLING = """
extern "C" __global__ void __launch_bounds__(1024) spilling(const float* x, float* y, int n) {
  float sums[96];
  #pragma unroll
  for (int i = 0; i < 96; ++i) sums[i] = x[i * n + threadIdx.x];
  for (int k = 0; k < n; ++k) {
    #pragma unroll
    for (int i = 0; i < 96; ++i) sums[i] = sums[i] * x[k * n + threadIdx.x] + sums[(i + 1) % 96];
  }
  #pragma unroll
  for (int i = 0; i < 96; ++i) y[i * n + threadIdx.x] = sums[i];
}
"""


@pytest.fixture
def _nvrtc() -> None:
    reason = nvrtc.unavailable()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.usefixtures("_nvrtc")
def test_every_architecture_is_reported() -> None:
    reports = compile_report(REVERSE, "reverse")
    assert [report.arch for report in reports] == [75, 80, 86, 89, 90, 100, 120]
    for report in reports:
        assert (report.spilled_bytes, report.stack_bytes, report.shared_bytes) == (0, 0, 1024)
        assert 8 <= report.registers <= 32
        assert report.blocks_per_multiprocessor(256) == {75: 4, 80: 8, 90: 8, 100: 8}.get(report.arch, 6)
    assert Variant(REVERSE, "reverse", 256, blocks_assumed=4).complaints() == []


@pytest.mark.usefixtures("_nvrtc")
def test_a_spill_is_seen() -> None:
    assert all(report.spilled_bytes > 0 for report in compile_report(SPILLING, "spilling"))
    complaints = Variant(SPILLING, "spilling", 1024).complaints()
    assert len(complaints) == len(ARCHITECTURES)
    assert all("bytes spilled" in complaint for complaint in complaints)


@pytest.mark.usefixtures("_nvrtc")
def test_too_few_blocks_are_seen() -> None:
    (complaint,) = Variant(REVERSE, "reverse", 256, dynamic_shared_bytes=70 * 1024, blocks_assumed=3).complaints([80])
    assert complaint.endswith("2 blocks per multiprocessor, its plan assumes 3")


@pytest.mark.usefixtures("_nvrtc")
def test_errors_carry_the_compilers_words() -> None:
    with pytest.raises(KernelError, match='identifier "missing" is undefined'):
        compile_report('extern "C" __global__ void k(float* y) { y[0] = missing; }', "k", [90])
    with pytest.raises(KernelError, match=r"no kernel 'k', only \['reverse'\]"):
        compile_report(REVERSE, "k", [90])


def test_a_log_is_read_kernel_by_kernel() -> None:
    log = """ptxas info    : 12 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas info    : Function properties for first
    400 bytes stack frame, 40 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 400 bytes cumulative stack size, 8208 bytes smem
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers
"""
    assert parse_log(log, 90) == [
        nvrtc.Report("first", 90, registers=32, spilled_bytes=64, stack_bytes=400, shared_bytes=8208),
        nvrtc.Report("second", 90, registers=10, spilled_bytes=0, stack_bytes=0, shared_bytes=0),
    ]


def test_the_options_are_those_that_cupy_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy", reason="CuPy is not installed")
    from cupy._core import core
    from cupy.cuda import compiler

    class SeenError(Exception):
        pass

    def see(self: Any, options: tuple[str, ...] = (), log_stream: Any = None) -> None:
        raise SeenError([option for option in options if not option.startswith("-I")])

    monkeypatch.setattr(compiler._NVRTCProgram, "compile", see)
    monkeypatch.setattr(compiler, "_preprocess", lambda *args: "")
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch=None: (f"-arch=sm_{arch}", "cubin"))
    monkeypatch.setattr(compiler.function, "Module", lambda: None)
    source = 'extern "C" __global__ void compiled_only_for_its_options() {}'
    with pytest.raises(SeenError) as seen:
        core.compile_with_cache(source, ("-std=c++17",), arch="90", prepend_cupy_headers=False, backend="nvrtc")
    assert sorted(seen.value.args[0]) == sorted([*nvrtc.OPTIONS, "-arch=sm_90"])
