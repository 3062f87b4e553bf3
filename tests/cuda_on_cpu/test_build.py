"""From a kernel file's text to a shared object: what is rewritten, what is cached, what is said when it fails."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffepy.errors import KernelError
from tests.cuda_on_cpu import EmulatedCuda, build

KERNEL = 'extern "C" __global__ void k(float* y) {{ y[threadIdx.x] = {value}; }}'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('extern "C" __global__ void a(int n) {}', {"a": "(1024)"}),
        ('extern "C" __global__ void __launch_bounds__(256) a(int n) {}', {"a": "(256)"}),
        ('extern "C" __launch_bounds__(8 * (4 + f(2)), 2)\n__global__ void a(int n) {}', {"a": "(8 * (4 + f(2)), 2)"}),
        ('// extern "C" __global__ void a() {}\n/* extern "C" __global__ void b() {} */', {}),
        ('extern "C" __device__ float a(float x) { return x; }\n__global__ void b() {}', {}),
        (
            'extern "C" __global__ void\na(\n  int n) {}\nextern "C" __global__ void b() {}',
            {"a": "(1024)", "b": "(1024)"},
        ),
    ],
)
def test_kernels_are_found_with_their_thread_limits(text: str, found: dict[str, str]) -> None:
    assert build.kernels(text) == found


def test_a_written_in_header_with_a_twin_is_replaced_by_it() -> None:
    source = """constexpr int n = 5;
#line 1 "conv.cu"
#line 1 "ptx.cuh"
__device__ unsigned ptx_cvt_tf32(float x) { unsigned r; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x)); return r; }
#line 2 "conv.cu"
extern "C" __global__ void k(float* y) { y[threadIdx.x] = __uint_as_float(ptx_cvt_tf32(1.0001f)) + n; }
"""
    device = EmulatedCuda()
    y = device.empty(1, np.float32)
    device.compile(source, "conv.cu").function("k")((1,), (1,), (y,))
    host = np.empty(1, np.float32)
    device.download(y, host)
    assert host[0] == 6


def test_a_compiler_error_names_the_line_of_the_kernel_file() -> None:
    with pytest.raises(KernelError, match=r"(?s)broken: .* cannot compile it\n.*broken.cu:2:.*'missing'"):
        EmulatedCuda().compile('extern "C" __global__ void k(float* y) {\n  y[0] = missing;\n}', "broken.cu")


def test_dynamic_shared_memory_belongs_into_a_function() -> None:
    with pytest.raises(KernelError, match="inside the function that uses it"):
        EmulatedCuda().compile("extern __shared__ float s[];\n" + KERNEL.format(value=1), "k.cu")


def test_an_object_is_built_once_and_again_when_its_text_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAFFEPY_CUDA_ON_CPU_CACHE", str(tmp_path))
    EmulatedCuda().compile(KERNEL.format(value=1), "k.cu")
    (first,) = tmp_path.iterdir()
    changed = first.stat().st_mtime_ns
    EmulatedCuda().compile(KERNEL.format(value=1), "k.cu")
    assert first.stat().st_mtime_ns == changed
    EmulatedCuda().compile(KERNEL.format(value=2), "k.cu")
    assert len(list(tmp_path.iterdir())) == 2


def test_processes_that_build_the_same_object_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = f"from tests.cuda_on_cpu import EmulatedCuda; EmulatedCuda().compile({KERNEL.format(value=3)!r}, 'k.cu')"
    environment = os.environ | {"CAFFEPY_CUDA_ON_CPU_CACHE": str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".so", ".so"]


def test_the_reason_is_given_where_there_is_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no no-such-compiler found" in (build.unavailable() or "")
