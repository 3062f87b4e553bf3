// Arrays seen as (num, channels, inner): what belongs to a channel.
#pragma once
#include "reduce.cuh"

// The channel of element i.
__device__ __forceinline__ int channel_of(int i, int channels, int inner) {
  return unsigned(i) / unsigned(inner) % unsigned(channels);
}

// The sum over n and i of value(index of (n, channel, i)), given to the whole block, which works on it together.
template <class F>
__device__ __forceinline__ float channel_sum(int channel, int num, int channels, int inner, F value) {
  const int nums = int(blockDim.x) / inner, rest = int(blockDim.x) % inner;  // a stride of blockDim, without divisions
  int n = int(threadIdx.x) / inner, i = int(threadIdx.x) % inner;
  float sum = 0;
  while (n < num) {
    sum += value((n * channels + channel) * inner + i);
    n += nums;
    i += rest;
    if (i >= inner) {
      i -= inner;
      ++n;
    }
  }
  return block_sum(sum);
}
