"""Kernels with one bug each, and the same without it: what the runner must see, and must not.

python -m tests.cuda_on_cpu.planted NAME ...    runs some, for tests that run them under a sanitizer
"""

import sys
from dataclasses import dataclass

import numpy as np

from caffepy.blob import Floats
from tests.cuda_on_cpu.array import DeviceArray
from tests.cuda_on_cpu.device import EmulatedCuda

THREADS = 64


@dataclass(frozen=True)
class Case:
    """A kernel `case(const float* x, float* y)`, launched on x = 0, 1, 2, ... with 64 threads a block."""

    body: str
    blocks: int = 1
    count: int = THREADS  # elements of x and of y
    shared_bytes: int = 0
    before: str = ""

    def source(self, name: str) -> str:
        """The kernel file; the first line of the body is its line 2 where nothing stands before."""
        return f'{self.before}extern "C" __global__ void {name}(const float* x, float* y) {{\n{self.body}\n}}\n'


def run(name: str, device: EmulatedCuda) -> Floats:
    """y after the launch of that case; NaN where nobody wrote. The kernel has the case's name, with underscores."""
    case, kernel = CASES[name], name.replace(" ", "_")
    x, y = device.empty(case.count, np.float32), device.empty(case.count, np.float32)
    device.upload(np.arange(case.count, dtype=np.float32), x)
    module = device.compile(case.source(kernel), "planted.cu")
    module.function(kernel)((case.blocks,), (THREADS,), (x, y), case.shared_bytes)
    return downloaded(device, y)


def downloaded(device: EmulatedCuda, array: DeviceArray) -> Floats:
    """A host copy of `array`."""
    host = np.empty(array.shape, np.float32)
    device.download(array, host)
    return host


_REVERSE = """
__shared__ float s[64];
const int first = 64 * blockIdx.x;
s[threadIdx.x] = x[first + threadIdx.x];
{barrier}
y[first + threadIdx.x] = s[63 - threadIdx.x];
"""
_TWICE = """
__shared__ float s[64];
float sum = 0;
for (int i = 0; i < 3; ++i) {{
  s[threadIdx.x] = x[threadIdx.x] + i;
  __syncthreads();
  sum += s[63 - threadIdx.x];
  {barrier}
}}
y[threadIdx.x] = sum;
"""
_IN_WARP = """
__shared__ float s[64];
s[threadIdx.x] = x[threadIdx.x];
{barrier}
y[threadIdx.x] = s[threadIdx.x ^ 1];
"""
_COPIED = """
extern __shared__ float s[];
const int at = 4 * threadIdx.x;
if (threadIdx.x < 16) ptx_cp_async16(s + at, x + at, true);
ptx_cp_async_commit();
{wait}
__syncthreads();
y[threadIdx.x] = s[63 - threadIdx.x];
"""
_LAST = """
__shared__ bool last;
y[64 * blockIdx.x + threadIdx.x] = x[threadIdx.x];
{fence}
__syncthreads();
if (threadIdx.x == 0) last = atomicAdd(&arrived, 1) == gridDim.x - 1;
__syncthreads();
if (last) y[threadIdx.x] += y[64 + threadIdx.x] + y[128 + threadIdx.x];
if (last && threadIdx.x == 0) atomicExch(&arrived, 0u);
"""
_ARRIVED = "__device__ unsigned arrived;\n"
_PTX = '#include "ptx.cuh"\n'

CASES = {
    # Barriers
    "missing barrier": Case(_REVERSE.format(barrier="")),
    "barrier": Case(_REVERSE.format(barrier="__syncthreads();"), blocks=3, count=192),
    "missing second barrier": Case(_TWICE.format(barrier="")),
    "second barrier": Case(_TWICE.format(barrier="__syncthreads();")),
    "missing warp barrier": Case(_IN_WARP.format(barrier="")),
    "warp barrier": Case(_IN_WARP.format(barrier="__syncwarp();")),
    "divergent barrier": Case("if (threadIdx.x < 32) y[0] = 1, __syncthreads();\nelse __syncthreads();"),
    "barrier after a return": Case("if (threadIdx.x < 32) return;\n__syncthreads();\ny[threadIdx.x] = 1;"),
    "deadlock": Case("if (threadIdx.x % 2) __syncwarp();\nelse __syncthreads();"),
    "divergent warp": Case("if (threadIdx.x % 2) __syncwarp();\nelse __syncwarp();"),
    "lane outside its mask": Case("__syncwarp(0xff);"),
    # Memory
    "read past global": Case("y[threadIdx.x] = x[threadIdx.x + 1];"),
    "write past global": Case("y[threadIdx.x + 1] = x[threadIdx.x];"),
    "write past static shared": Case(
        "__shared__ float s[64];\ns[threadIdx.x + (x[0] == 0)] = 1;\n__syncthreads();\ny[threadIdx.x] = s[threadIdx.x];"
    ),
    "write past shared by pointer": Case(
        "__shared__ float s[64];\nfloat* p = s;\nif (x[0] == 0) p += 1;\np[threadIdx.x] = 1;\n__syncthreads();\n"
        "y[threadIdx.x] = s[threadIdx.x];"
    ),
    "write past dynamic shared": Case(
        "extern __shared__ float s[];\ns[threadIdx.x] = 1;\n__syncthreads();\ny[threadIdx.x] = s[threadIdx.x];",
        shared_bytes=60 * 4,
    ),
    "write past local": Case(
        "float a[4];\nfor (int i = 0; i <= 4 + int(x[0]); ++i) a[i] = x[i];\ny[threadIdx.x] = a[threadIdx.x % 4];"
    ),
    "misaligned vector": Case(
        "if (threadIdx.x < 8)\n  *(float4*)(y + 4 * threadIdx.x) = *(const float4*)(x + 4 * threadIdx.x + 1);"
    ),
    "null pointer": Case("float* nowhere = nullptr;\nnowhere[threadIdx.x] = x[0];"),
    "division by zero": Case("y[threadIdx.x] = 7 / int(x[0]);"),
    "signed overflow": Case("int big = 0x7fffffff - 62 + int(x[threadIdx.x]);\ny[threadIdx.x] = big;"),
    "unwritten shared": Case(
        "__shared__ float s[64];\nif (threadIdx.x < 32) s[threadIdx.x] = 1;\n__syncthreads();\n"
        "y[threadIdx.x] = s[63 - threadIdx.x];"
    ),
    "unwritten shared under a maximum": Case(
        "__shared__ float s[64];\nif (threadIdx.x < 32) s[threadIdx.x] = 1;\n__syncthreads();\n"
        "y[threadIdx.x] = fmaxf(s[63 - threadIdx.x], 0.f);"
    ),
    "missing wait for a copy": Case(_COPIED.format(wait=""), shared_bytes=256, before=_PTX),
    "wait for a copy": Case(_COPIED.format(wait="ptx_cp_async_wait<0>();"), shared_bytes=256, before=_PTX),
    # Blocks
    "race between blocks": Case("y[threadIdx.x] = x[threadIdx.x] + blockIdx.x;", blocks=4),
    "atomics between blocks": Case(
        "if (threadIdx.x < 4 && blockIdx.x == 0) return;\natomicAdd((int*)y + threadIdx.x, 1);", blocks=4
    ),
    "last block": Case(_LAST.format(fence="__threadfence();"), blocks=3, count=192, before=_ARRIVED),
    "last block without a fence": Case(_LAST.format(fence=""), blocks=3, count=192, before=_ARRIVED),
    "warp sum": Case(
        "float v = x[threadIdx.x];\nfor (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(~0u, v, d);\n"
        "if (threadIdx.x % 32 == 0) y[threadIdx.x] = v;"
    ),
}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        sys.stdout.write(f"{name}: {run(name, EmulatedCuda())[:4]}\n")
