// MarginInnerProduct: lengths of rows.     NumPy: caffepy/layers/common/margin_inner_product.py
//
// Layout     weights and bottom (rows, inputs).
// Launch     a block of whole warps per row, `count` of them; margin_add_along: 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Source     Liu et al. 2017 (SphereFace), margin_inner_product_layer.cpp.
#include "common.cuh"
#include "reduce.cuh"

__device__ __forceinline__ float length_of(const float* row, int inputs) {
  float sum = 0;
  for (int i = threadIdx.x; i < inputs; i += blockDim.x) sum += row[i] * row[i];
  return sqrtf(block_sum(sum));
}

// lengths[r] = |weight[r]|; weight[r] /= lengths[r], a row of zeros stays
extern "C" __global__ void margin_unit_rows(int count, float* weight_data, int inputs, float* lengths) {
  float* row = weight_data + blockIdx.x * inputs;
  const float length = length_of(row, inputs);
  for (int i = threadIdx.x; i < inputs && length > 0; i += blockDim.x) row[i] /= length;
  if (threadIdx.x == 0) lengths[blockIdx.x] = length;
}

// lengths[n] = |bottom[n]|
extern "C" __global__ void margin_lengths(int count, const float* bottom_data, int inputs, float* lengths) {
  const float length = length_of(bottom_data + blockIdx.x * inputs, inputs);
  if (threadIdx.x == 0) lengths[blockIdx.x] = length;
}

// bottom_diff[n] += along[n] * bottom[n]
extern "C" __global__ void margin_add_along(
    int count, const float* bottom_data, const float* along, int inputs, float* bottom_diff) {
  FOR_EACH(at, count) bottom_diff[at] += along[unsigned(at) / unsigned(inputs)] * bottom_data[at];
}
