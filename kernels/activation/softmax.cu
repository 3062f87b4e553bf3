// Softmax along the channels.     NumPy: caffepy/layers/activation/softmax.py
//
// Layout     (outer, channels, inner); a column is the channels at one (o, i), `inner` apart. `count` columns.
// Launch     softmax_plan.py: a block of whole warps per column, or a thread per column. Deterministic.
// Source     Caffe's softmax_layer.cpp: the maximum is subtracted, so that no exponential overflows.
#include "common.cuh"
#include "reduce.cuh"

// The index of the column's first channel.
__device__ __forceinline__ int column_start(int column, int channels, int inner) {
  const int o = unsigned(column) / unsigned(inner);
  return o * channels * inner + column - o * inner;
}

// y = exp(x - m) / sum of the same, m = max x, over one column; by a whole block, or by the calling thread alone.
template <bool by_block>
__device__ __forceinline__ void softmax_of(const float* x, float* y, int channels, int inner) {
  const int first = by_block ? threadIdx.x : 0, step = by_block ? blockDim.x : 1;
  float largest = FLT_LOWEST, sum = 0;
  for (int c = first; c < channels; c += step) largest = fmaxf(largest, x[c * inner]);
  if (by_block) largest = block_max(largest);
  for (int c = first; c < channels; c += step) {
    const float exponential = expf(x[c * inner] - largest);
    y[c * inner] = exponential;
    sum += exponential;
  }
  if (by_block) sum = block_sum(sum);
  for (int c = first; c < channels; c += step) y[c * inner] /= sum;
}

// dx = (dy - sum of dy * y) * y over one column, likewise.
template <bool by_block>
__device__ __forceinline__ void derivative_of(const float* y, const float* dy, float* dx, int channels, int inner) {
  const int first = by_block ? threadIdx.x : 0, step = by_block ? blockDim.x : 1;
  float along = 0;
  for (int c = first; c < channels; c += step) along += dy[c * inner] * y[c * inner];
  if (by_block) along = block_sum(along);
  for (int c = first; c < channels; c += step) dx[c * inner] = (dy[c * inner] - along) * y[c * inner];
}

// top = softmax of bottom, which it may be; a block per column
extern "C" __global__ void softmax_forward(
    int count, const float* bottom_data, int outer, int channels, int inner, float* top_data) {
  const int start = column_start(blockIdx.x, channels, inner);
  softmax_of<true>(bottom_data + start, top_data + start, channels, inner);
}

// The same; a thread per column
extern "C" __global__ void softmax_forward_by_threads(
    int count, const float* bottom_data, int outer, int channels, int inner, float* top_data) {
  FOR_EACH(column, count) {
    const int start = column_start(column, channels, inner);
    softmax_of<false>(bottom_data + start, top_data + start, channels, inner);
  }
}

// bottom_diff = (top_diff - sum over c of top_diff * top) * top; a block per column
extern "C" __global__ void softmax_backward(
    int count, const float* top_data, const float* top_diff, int outer, int channels, int inner, float* bottom_diff) {
  const int start = column_start(blockIdx.x, channels, inner);
  derivative_of<true>(top_data + start, top_diff + start, bottom_diff + start, channels, inner);
}

// The same; a thread per column
extern "C" __global__ void softmax_backward_by_threads(
    int count, const float* top_data, const float* top_diff, int outer, int channels, int inner, float* bottom_diff) {
  FOR_EACH(column, count) {
    const int start = column_start(column, channels, inner);
    derivative_of<false>(top_data + start, top_diff + start, bottom_diff + start, channels, inner);
  }
}
