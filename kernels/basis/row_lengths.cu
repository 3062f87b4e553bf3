// Lengths of rows.     NumPy: caffepy/layers/basis/rows.py
//
// Layout     rows (count, inner).
// Launch     a block of whole warps per row, `count` of them. Deterministic.
// Source     Liu et al. 2017 (SphereFace), margin_inner_product_layer.cpp: weights of length 1.
#include "common.cuh"
#include "reduce.cuh"

__device__ __forceinline__ float length_of(const float* row, int inner) {
  float sum = 0;
  for (int i = threadIdx.x; i < inner; i += blockDim.x) sum += row[i] * row[i];
  return sqrtf(block_sum(sum));
}

// lengths[r] = |bottom[r]|
extern "C" __global__ void row_lengths(int count, const float* bottom_data, int inner, float* lengths) {
  const float length = length_of(bottom_data + blockIdx.x * inner, inner);
  if (threadIdx.x == 0) lengths[blockIdx.x] = length;
}

// lengths[r] = |weight[r]|; weight[r] /= lengths[r], a row of zeros stays
extern "C" __global__ void unit_rows(int count, float* weight_data, int inner, float* lengths) {
  float* row = weight_data + blockIdx.x * inner;
  const float length = length_of(row, inner);
  for (int i = threadIdx.x; i < inner && length > 0; i += blockDim.x) row[i] /= length;
  if (threadIdx.x == 0) lengths[blockIdx.x] = length;
}
