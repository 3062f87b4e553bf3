// Reductions over a warp or a block, in an order that the launch alone decides: the same bits every time.
#pragma once

// The values of a warp's lanes combined, given to all of them.
template <class T, class Combine>
__device__ __forceinline__ T warp_reduce(T value, Combine combine) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = combine(value, __shfl_xor_sync(~0u, value, distance));
  }
  return value;
}

// The values of all threads combined, given to all of them. Every thread of the block must come here, in whole warps.
template <class T, class Combine>
__device__ __forceinline__ T block_reduce(T value, Combine combine) {
  __shared__ T of_warp[32];
  value = warp_reduce(value, combine);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  value = of_warp[0];
  for (int warp = 1; warp < int(blockDim.x) / 32; ++warp) value = combine(value, of_warp[warp]);
  __syncthreads();  // before a next reduction writes of_warp
  return value;
}

template <class T>
__device__ __forceinline__ T block_sum(T value) {
  return block_reduce(value, [](T a, T b) { return a + b; });
}
template <class T>
__device__ __forceinline__ T block_max(T value) {
  return block_reduce(value, [](T a, T b) { return max(a, b); });
}
template <class T>
__device__ __forceinline__ T block_min(T value) {
  return block_reduce(value, [](T a, T b) { return min(a, b); });
}
