// Sums over many values, by as many blocks as there are parts, which another kernel adds up: loss_sum.cu, or parts_sum.
#pragma once
#include "reduce.cuh"

// The sum of value(i) over the p-th of `count` equal shares of the i below `values`, given to the whole block.
template <class F>
__device__ __forceinline__ float share_sum(int p, int count, int values, F value) {
  const int share = values / count + (values % count != 0);
  const int first = min(p * share, values), end = min(first + share, values);
  float sum = 0;
  for (int i = first + int(threadIdx.x); i < end; i += blockDim.x) sum += value(i);
  return block_sum(sum);
}

// parts[p] = the sum of value(i) over the p-th of `count` equal shares of the i below `values`; by block p.
template <class F>
__device__ __forceinline__ void add_up(int count, int values, float* parts, F value) {
  const float sum = share_sum(blockIdx.x, count, values, value);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// The sum of parts[row, p] over p < shares, given to the whole block.
__device__ __forceinline__ float parts_sum(const float* parts, int row, int shares) {
  return share_sum(0, 1, shares, [=](int p) { return parts[row * shares + p]; });
}

// The sum of a result's parts, which are `step` apart, in their order.
__device__ __forceinline__ float sum_of_parts(const float* parts, int number, int step, int i) {
  float sum = 0;
#pragma unroll 8
  for (int part = 0; part < number; ++part) sum += parts[part * step + i];
  return sum;
}
