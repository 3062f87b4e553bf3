// Reduction.     NumPy: caffepy/layers/utility/reduction.py
//
// Layout     bottom (rows, length), top (rows).
// Launch     forward, finish: a block of whole warps per row, `count` rows; parts: one per share of a row, `count` shares;
//            backward: 1-D over `count` elements of the bottom, any grid (grid-stride). Deterministic: a sum in an order
//            that the launch decides.
// Constants  kind
// Source     BVLC Caffe, reduction_layer.cpp.
#include "common.cuh"
#include "parts.cuh"

// The values of ReductionParameter.ReductionOp.
enum { SUM = 1, ASUM = 2, SUMSQ = 3, MEAN = 4 };

__device__ __forceinline__ float term(float x) { return kind == ASUM ? fabsf(x) : kind == SUMSQ ? x * x : x; }

// top[r] = coeff * sum over i of bottom[r, i]; ASUM: of |bottom|; SUMSQ: of bottom^2
extern "C" __global__ void reduction_forward(
    int count, const float* bottom_data, int length, float coeff, float* top_data) {
  const float* const row = bottom_data + blockIdx.x * length;
  const float sum = share_sum(0, 1, length, [=](int i) { return term(row[i]); });
  if (threadIdx.x == 0) top_data[blockIdx.x] = coeff * sum;
}

// workspace[r, s] = the same sum, without coeff, over the s-th of `shares` shares of row r
extern "C" __global__ void reduction_parts(
    int count, const float* bottom_data, int length, float* workspace, int shares) {
  const float* const row = bottom_data + blockIdx.x / shares * length;
  const float sum = share_sum(blockIdx.x % shares, shares, length, [=](int i) { return term(row[i]); });
  if (threadIdx.x == 0) workspace[blockIdx.x] = sum;
}

// top[r] = coeff * sum over s of workspace[r, s]
extern "C" __global__ void reduction_finish(
    int count, const float* workspace, float coeff, float* top_data, int shares) {
  const float sum = parts_sum(workspace, blockIdx.x, shares);
  if (threadIdx.x == 0) top_data[blockIdx.x] = coeff * sum;
}

// bottom_diff[r, i] = coeff * top_diff[r]; ASUM: * sign(bottom); SUMSQ: * 2 * bottom
extern "C" __global__ void reduction_backward(
    int count, const float* bottom_data, const float* top_diff, int length, float coeff, float* bottom_diff) {
  FOR_EACH(i, count) {
    const float factor = coeff * top_diff[unsigned(i) / unsigned(length)];
    if (kind == SUMSQ) {
      bottom_diff[i] = 2 * factor * bottom_data[i];
    } else if (kind == ASUM) {
      const float x = bottom_data[i];
      bottom_diff[i] = factor * (x > 0 ? 1 : x < 0 ? -1 : x);  // x: 0 or NaN
    } else {
      bottom_diff[i] = factor;
    }
  }
}
