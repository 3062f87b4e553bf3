"""CUDA C++ as kernels use it, against what each construct is defined to compute."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.cuda_on_cpu import DeviceArray, EmulatedCuda

Array = NDArray[Any]


@pytest.fixture(params=["ascending", "descending", "random"])
def device(request: pytest.FixtureRequest) -> EmulatedCuda:
    return EmulatedCuda(request.param, seed=7)


def on_device(device: EmulatedCuda, host: Array) -> DeviceArray:
    array = device.empty(host.size, host.dtype)
    device.upload(host, array)
    return array


def run(
    device: EmulatedCuda,
    body: str,
    *inputs: Array,
    out: Any = np.float32,
    count: int = 0,
    grid: tuple[int, ...] = (1,),
    block: tuple[int, ...] = (64,),
    shared_bytes: int = 0,
    before: str = "",
) -> Array:
    """What `body` makes of the inputs x0, x1, ...: y, `count` elements of `out`, by default one a thread."""
    kinds = {"f": "float", "i": "int", "u": "unsigned"}
    inputs = tuple(np.ascontiguousarray(x) for x in inputs)
    parameters = [f"const {kinds[x.dtype.kind]}* x{i}" for i, x in enumerate(inputs)]
    parameters.append(f"{kinds[np.dtype(out).kind]}* y")
    source = f'{before}\nextern "C" __global__ void k({", ".join(parameters)}) {{ {body} }}'
    y = device.empty(count or int(np.prod(grid) * np.prod(block)), out)
    arguments = (*(on_device(device, x) for x in inputs), y)
    device.compile(source, "k.cu").function("k")(grid, block, arguments, shared_bytes)
    host = np.empty(y.shape, out)
    device.download(y, host)
    return host


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


LANES = np.arange(64) % 32
FIRST_OF_WARP = np.arange(64) // 32 * 32


def test_a_grid_stride_loop_visits_every_element_once(device: EmulatedCuda) -> None:
    each = (
        "#define FOR_EACH(i, n) for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)"
    )
    x = noise(1000)
    y = run(device, "FOR_EACH(i, 1000) y[i] = 2 * x0[i] + 1;", x, count=1000, grid=(3,), block=(96,), before=each)
    np.testing.assert_array_equal(y, 2 * x + 1)


def test_threads_and_blocks_know_their_place_in_three_dimensions(device: EmulatedCuda) -> None:
    body = """
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    y[block * blockDim.x * blockDim.y * blockDim.z + thread] = 100 * blockIdx.z + 10 * threadIdx.y + threadIdx.z;"""
    y = run(device, body, out=np.int32, grid=(2, 1, 3), block=(4, 3, 2))
    z, _, _, tz, ty, _ = np.indices((3, 1, 2, 2, 3, 4)).reshape(6, -1)
    np.testing.assert_array_equal(y, 100 * z + 10 * ty + tz)


def test_barriers_make_shared_memory_visible_block_by_block(device: EmulatedCuda) -> None:
    x = noise(4, 64)
    body = """
    __shared__ __align__(16) float s[64];
    s[threadIdx.x] = x0[64 * blockIdx.x + threadIdx.x];
    for (int half = 32; half > 0; half /= 2) {
      __syncthreads();
      float other = threadIdx.x < half ? s[threadIdx.x + half] : 0;
      if (threadIdx.x < half) s[threadIdx.x] += other;
    }
    if (threadIdx.x == 0) y[blockIdx.x] = s[0];"""
    np.testing.assert_allclose(run(device, body, x, count=4, grid=(4,)), x.sum(1), rtol=1e-5)


@pytest.mark.parametrize(
    ("function", "expected"),
    [("__syncthreads_count", 22), ("__syncthreads_or", 1), ("__syncthreads_and", 0)],
)
def test_barriers_that_vote(device: EmulatedCuda, function: str, expected: int) -> None:
    y = run(device, f"y[threadIdx.x] = {function}(threadIdx.x % 3 == 0);", out=np.int32)
    np.testing.assert_array_equal(y, np.full(64, expected))


def test_dynamic_shared_memory_takes_the_size_of_the_launch(device: EmulatedCuda) -> None:
    body = "extern __shared__ __align__(16) float s[]; s[threadIdx.x] = x0[threadIdx.x]; __syncthreads(); "
    x = noise(64)
    y = run(device, body + "y[threadIdx.x] = s[63 - threadIdx.x];", x, shared_bytes=256)
    np.testing.assert_array_equal(y, x[::-1])


@pytest.mark.parametrize(
    ("shuffle", "source"),
    [
        ("__shfl_sync(~0u, v, 5)", FIRST_OF_WARP + 5),
        ("__shfl_sync(~0u, v, 5, 8)", np.arange(64) // 8 * 8 + 5),
        ("__shfl_xor_sync(~0u, v, 9)", np.arange(64) ^ 9),
        ("__shfl_down_sync(~0u, v, 3)", np.where(LANES + 3 < 32, np.arange(64) + 3, np.arange(64))),
        ("__shfl_up_sync(~0u, v, 3)", np.where(LANES >= 3, np.arange(64) - 3, np.arange(64))),
        ("__shfl_down_sync(~0u, v, 3, 16)", np.where(LANES % 16 + 3 < 16, np.arange(64) + 3, np.arange(64))),
    ],
)
def test_shuffles(device: EmulatedCuda, shuffle: str, source: Array) -> None:
    x = noise(64)
    np.testing.assert_array_equal(run(device, f"float v = x0[threadIdx.x]; y[threadIdx.x] = {shuffle};", x), x[source])


def test_parts_of_a_warp_meet_apart_and_then_together(device: EmulatedCuda) -> None:
    body = """
    float v = x0[threadIdx.x];
    if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(0xffffu, v, 1);
    v += __shfl_xor_sync(~0u, v, 16);
    y[threadIdx.x] = v;"""
    x = noise(64)
    half = np.where(LANES < 16, x + x[np.arange(64) ^ 1], x)
    np.testing.assert_array_equal(run(device, body, x), half + half[np.arange(64) ^ 16])


def test_a_warp_shorter_than_32_and_lanes_that_have_returned_are_not_waited_for(device: EmulatedCuda) -> None:
    body = "if (threadIdx.x >= 36) return; y[threadIdx.x] = __ballot_sync(~0u, threadIdx.x % 2);"
    y = run(device, body, out=np.int32, block=(40,))
    np.testing.assert_array_equal(y[:36], np.where(np.arange(36) < 32, np.int64(0xAAAAAAAA - 2**32), 0b1010))


def test_votes_of_a_warp(device: EmulatedCuda) -> None:
    body = "int p = threadIdx.x < 40; y[threadIdx.x] = __any_sync(~0u, p) * 100 + __all_sync(~0u, p) * 10 + __popc(7);"
    np.testing.assert_array_equal(run(device, body, out=np.int32), np.repeat([113, 103], 32))


@pytest.mark.parametrize(
    ("call", "start", "end"),
    [
        ("atomicAdd(y, 2)", 5, 5 + 2 * 512),
        ("atomicSub(y, 1)", 5, 5 - 512),
        ("atomicMax(y, int(blockIdx.x * 64 + threadIdx.x))", 5, 511),
        ("atomicMin(y, -int(blockIdx.x * 64 + threadIdx.x))", 5, -511),
        ("atomicOr(y, 1 << threadIdx.x % 16)", 0, 0xFFFF),
        ("atomicAnd(y, ~(1 << threadIdx.x % 16))", 0x1FFFF, 0x10000),
        ("atomicCAS(y, 5, 9)", 5, 9),
    ],
)
def test_integer_atomics_from_all_blocks(device: EmulatedCuda, call: str, start: int, end: int) -> None:
    y = device.empty(1, np.int32)
    device.upload(np.array([start], np.int32), y)
    device.compile(f'extern "C" __global__ void k(int* y) {{ {call}; }}', "k.cu").function("k")((8,), (64,), (y,))
    host = np.empty(1, np.int32)
    device.download(y, host)
    assert host[0] == end


def test_atomics_return_what_was_there_before(device: EmulatedCuda) -> None:
    count = device.zeros(1, np.int32)
    y = device.empty(64, np.int32)
    source = 'extern "C" __global__ void k(int* count, int* y) { y[threadIdx.x] = atomicAdd(count, 1); }'
    device.compile(source, "k.cu").function("k")((1,), (64,), (count, y))
    host = np.empty(64, np.int32)
    device.download(y, host)
    assert sorted(host) == list(range(64))


def test_vectors_are_loaded_and_stored_whole(device: EmulatedCuda) -> None:
    body = """
    float4 a = reinterpret_cast<const float4*>(x0)[threadIdx.x];
    float2 b = make_float2(a.x + a.y, a.z);
    int4 c = make_int4(1, 2, 3, 4);
    reinterpret_cast<float4*>(y)[threadIdx.x] = make_float4(b.x, b.y, a.w, c.z);"""
    x = noise(256)
    a = x.reshape(64, 4)
    expected = np.stack([a[:, 0] + a[:, 1], a[:, 2], a[:, 3], np.full(64, 3, np.float32)], 1)
    np.testing.assert_array_equal(run(device, body, x, count=256), expected.ravel())


@pytest.mark.parametrize(
    ("expression", "definition"),
    [
        ("__expf(x)", np.exp),
        ("expf(x)", np.exp),
        ("__logf(fabsf(x))", lambda x: np.log(np.abs(x))),
        ("log1pf(fabsf(x))", lambda x: np.log1p(np.abs(x))),
        ("__powf(fabsf(x), 0.75f)", lambda x: np.abs(x) ** 0.75),
        ("rsqrtf(fabsf(x))", lambda x: 1 / np.sqrt(np.abs(x))),
        ("__fdividef(1.f, x)", lambda x: 1 / x),
        ("fmaf(x, x, 1.f)", lambda x: x * x + 1),
        ("tanhf(x)", np.tanh),
        ("__saturatef(x)", lambda x: np.clip(x, 0, 1)),
        ("copysignf(1.f, x)", np.sign),
        ("min(x, 0.f) + max(x, 1.f)", lambda x: np.minimum(x, 0) + np.maximum(x, 1)),
        ("float(min(int(x), -1) + max(3u, 2))", lambda x: np.minimum(np.trunc(x), -1) + 3),
        ("__int_as_float(__float_as_int(x))", lambda x: x),
        ("__ldg(x0 + threadIdx.x)", lambda x: x),
        ("float(__float2int_rn(x))", np.round),
    ],
)
def test_arithmetic(device: EmulatedCuda, expression: str, definition: Any) -> None:
    x = noise(64)
    y = run(device, f"float x = x0[threadIdx.x]; y[threadIdx.x] = {expression};", x)
    np.testing.assert_allclose(y, definition(x.astype(np.float64)), rtol=3e-6, atol=1e-7)


def test_minimum_and_maximum_pass_nan_over(device: EmulatedCuda) -> None:
    x = np.full(64, np.nan, np.float32)
    y = run(device, "y[threadIdx.x] = fmaxf(x0[threadIdx.x], 1.f) + min(2.f, x0[threadIdx.x]);", x)
    np.testing.assert_array_equal(y, np.full(64, 3))


def test_denormals_are_zeros_and_the_host_keeps_its_own(device: EmulatedCuda) -> None:
    tiny = np.full(64, 1e-30, np.float32)
    y = run(device, "y[threadIdx.x] = x0[threadIdx.x] * 1e-10f;", tiny)
    np.testing.assert_array_equal(y, np.zeros(64))
    assert np.float32(1e-30) * np.float32(1e-10) > 0


def test_constants_templates_launch_bounds_and_unrolled_loops(device: EmulatedCuda) -> None:
    source = """
    constexpr int kernel_h = 3; constexpr float scale = 0.5; constexpr bool relu = true;
    __constant__ int table[3] = {1, 2, 3};
    template <int N> __device__ __forceinline__ float sum(const float* __restrict__ x) {
      float s = 0;
      #pragma unroll
      for (int i = 0; i < N; ++i) s += x[i] * table[i % 3];
      return s;
    }
    // extern "C" __global__ void not_a_kernel(int n) {}
    extern "C" __global__ void __launch_bounds__(2 * (16 + 16), 2)
    k(const float* __restrict__ x, float* __restrict__ y) {
      float s = scale * sum<kernel_h>(x + threadIdx.x);
      y[threadIdx.x] = relu ? fmaxf(s, 0.f) : s;
    }"""
    module = device.compile(source, "k.cu")
    x = noise(66)
    y = device.empty(64, np.float32)
    module.function("k")((1,), (64,), (on_device(device, x), y))
    host = np.empty(64, np.float32)
    device.download(y, host)
    expected = np.maximum(0.5 * (x[:64] + 2 * x[1:65] + 3 * x[2:66]), 0)
    np.testing.assert_allclose(host, expected, rtol=1e-6, atol=1e-7)
    assert module.function("k").thread_limit == 64


def test_a_pipeline_of_asynchronous_copies(device: EmulatedCuda) -> None:
    body = """
    __shared__ __align__(16) float s[3][256];
    for (int stage = 0; stage < 2; ++stage) {
      ptx_cp_async16(&s[stage][4 * threadIdx.x], x0 + 256 * stage + 4 * threadIdx.x, true);
      ptx_cp_async_commit();
    }
    float sum = 0;
    for (int i = 0; i < 8; ++i) {
      ptx_cp_async_wait<1>();
      __syncthreads();
      if (i + 2 < 8) ptx_cp_async16(&s[(i + 2) % 3][4 * threadIdx.x], x0 + 256 * (i + 2) + 4 * threadIdx.x, true);
      ptx_cp_async_commit();
      sum += s[i % 3][255 - threadIdx.x];
    }
    y[threadIdx.x] = sum;"""
    x = noise(8, 256)
    y = run(device, body, x, before='#include "ptx.cuh"')
    np.testing.assert_allclose(y, x[:, ::-1][:, :64].sum(0), rtol=1e-5, atol=1e-5)


def test_tensor_core_product_of_tf32_operands(device: EmulatedCuda) -> None:
    body = """
    int group = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned a[4], b[2];
    float d[4] = {0, 0, 0, 0};
    for (int i = 0; i < 4; ++i) a[i] = ptx_cvt_tf32(x0[(group + 8 * (i % 2)) * 8 + t + 4 * (i / 2)]);
    for (int i = 0; i < 2; ++i) b[i] = ptx_cvt_tf32(x1[(t + 4 * i) * 8 + group]);
    ptx_mma_m16n8k8_tf32(d, a, b);
    for (int i = 0; i < 4; ++i) y[(group + 8 * (i / 2)) * 8 + 2 * t + i % 2] = d[i];"""
    a, b = noise(16, 8), noise(8, 8, seed=1)
    y = run(device, body, a, b, count=128, block=(32,), before='#include "ptx.cuh"').reshape(16, 8)

    def tf32(x: Array) -> Array:
        exponent = np.floor(np.log2(np.abs(x.astype(np.float64))))
        step = 2.0 ** (exponent - 10)
        return np.asarray(np.sign(x) * np.floor(np.abs(x) / step + 0.5) * step)

    np.testing.assert_allclose(y, tf32(a) @ tf32(b), rtol=1e-5, atol=1e-6)
    assert np.abs(y - a @ b).max() > 1e-5  # the rounding is there


def test_blocks_are_shared_among_os_threads_with_the_same_result() -> None:
    body = "float v = 0; for (int i = 0; i < 20000; ++i) v += x0[i % 64]; y[64 * blockIdx.x + threadIdx.x] = v;"
    alone, helped = (run(EmulatedCuda(workers=n), body, noise(64), grid=(16,)) for n in (1, 3))
    np.testing.assert_array_equal(alone, helped)
