// Normalize: channels to length 1, times a scale.     NumPy: caffepy/layers/normalize.py
//
// Layout     (num, channels, inner); sums (num, inner), or (num) with `across`; scale (channels), or 1 with `shared`.
// Launch     sums: a block of whole warps per sum; scale_diff: one per scale; else 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  across, shared, eps
// Source     Liu et al. 2015 (ParseNet); SSD's normalize_layer.cpp.
#include "channels.cuh"
#include "common.cuh"

__device__ __forceinline__ int sum_of(int i, int channels, int inner) {
  const int n = unsigned(i) / unsigned(channels * inner);
  return across ? n : n * inner + unsigned(i) % unsigned(inner);
}
__device__ __forceinline__ int scale_of(int i, int channels, int inner) {
  return shared ? 0 : channel_of(i, channels, inner);
}

// sums[n, i] = sum over c of first[n, c, i] * second[n, c, i] * scale[c], over i too with `across`
extern "C" __global__ void normalize_sums(
    int count, const float* first_data, const float* second_data, const float* scale_data, int num, int channels,
    int inner, float* sums) {
  const int size = channels * inner, step = across ? 1 : inner;
  const int start = across ? blockIdx.x * size : blockIdx.x / inner * size + blockIdx.x % inner;
  float sum = 0;
  for (int k = threadIdx.x; k < (across ? size : channels); k += blockDim.x) {
    const int at = start + k * step;
    const float scale = scale_data ? scale_data[scale_of(at, channels, inner)] : 1;
    sum += first_data[at] * second_data[at] * scale;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// top[n, c, i] = bottom[n, c, i] / sqrt(squares[n, i] + eps) * scale[c]
extern "C" __global__ void normalize_forward(
    int count, const float* bottom_data, const float* squares, const float* scale_data, int num, int channels,
    int inner, float* top_data) {
  FOR_EACH(i, count) {
    const float length = sqrtf(squares[sum_of(i, channels, inner)] + eps);
    top_data[i] = bottom_data[i] / length * scale_data[scale_of(i, channels, inner)];
  }
}

// bottom_diff = (top_diff[n, c, i] * scale[c] - bottom[n, c, i] * along[n, i] / l^2) / l, l the bottom's length
extern "C" __global__ void normalize_backward(
    int count, const float* bottom_data, const float* top_diff, const float* squares, const float* along,
    const float* scale_data, int num, int channels, int inner, float* bottom_diff) {
  FOR_EACH(i, count) {
    const int at = sum_of(i, channels, inner);
    const float square = squares[at] + eps;
    const float diff = top_diff[i] * scale_data[scale_of(i, channels, inner)] - bottom_data[i] * (along[at] / square);
    bottom_diff[i] = diff / sqrtf(square);
  }
}

// scale_diff[c] += sum over n, i of top_diff[n, c, i] * bottom[n, c, i] / sqrt(squares[n, i] + eps)
extern "C" __global__ void normalize_backward_weights(
    int count, const float* bottom_data, const float* top_diff, const float* squares, int num, int channels, int inner,
    float* scale_diff) {
  const auto value = [=](int at) {
    return top_diff[at] * bottom_data[at] / sqrtf(squares[sum_of(at, channels, inner)] + eps);
  };
  const float sum = shared ? channel_sum(0, 1, 1, num * channels * inner, value)
                           : channel_sum(blockIdx.x, num, channels, inner, value);
  if (threadIdx.x == 0) scale_diff[blockIdx.x] += sum;
}
