// CUDA C++ as a host compiler can read it: included before the text of a kernel file, which stays as it is.
#pragma once
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "runtime.h"

#define __CUDA_ARCH__ EMU_CUDA_ARCH

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __grid_constant__

// A block never leaves its OS thread, so thread-local is block-local. ASan puts no red zones round thread-local
// variables: its builds use one OS thread and statics. build.py rewrites `extern __shared__`.
#if defined(EMU_ADDRESS)
#define __shared__ static
#else
#define __shared__ thread_local
#endif

#include "cuda_vectors.h"

#include "cuda_math.h"

#include "cuda_sync.h"

#define threadIdx (emu::self.thread)
#define blockIdx (emu::self.block)
#define blockDim (emu::self.block_size)
#define gridDim (emu::self.grid_size)
constexpr int warpSize = 32;
