// Sums over many values, by as many blocks as there are parts; kernels/loss_sum.cu adds the parts up.
#pragma once
#include "reduce.cuh"

// parts[p] = the sum of value(i) over the p-th of `count` equal shares of the i below `values`; by block p.
template <class F>
__device__ __forceinline__ void add_up(int count, int values, float* parts, F value) {
  const int share = values / count + (values % count != 0);
  const int first = min(int(blockIdx.x) * share, values), end = min(first + share, values);
  float sum = 0;
  for (int i = first + int(threadIdx.x); i < end; i += blockDim.x) sum += value(i);
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
