// Normalize: channels to length 1, times a scale if there is one.     NumPy: caffepy/layers/normalization/normalize.py
//
// Layout     (num, channels, inner); sums (num, inner), or (num) with `across`; scale (channels), or 1 with `shared`.
// Launch     sums: a block of whole warps per sum; scale_diff: one per scale; else 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  across, shared, eps, absolute
// Source     Liu et al. 2015 (ParseNet); SSD's and caffe-windows's normalize_layer.cpp.
#include "channels.cuh"
#include "common.cuh"

__device__ __forceinline__ int sum_of(int i, int channels, int inner) {
  const int n = unsigned(i) / unsigned(channels * inner);
  return across ? n : n * inner + unsigned(i) % unsigned(inner);
}
__device__ __forceinline__ float scale_of(const float* scale_data, int i, int channels, int inner) {
  return scale_data ? scale_data[shared ? 0 : channel_of(i, channels, inner)] : 1;
}

// l(sum) = sqrt(sum + eps), or with `absolute` sum + eps
__device__ __forceinline__ float length_of(float sum) { return absolute ? sum + eps : sqrtf(sum + eps); }

__device__ __forceinline__ float sign_of(float x) { return float(x > 0) - float(x < 0); }

// sums[n, i] = sum over c of first[n, c, i] * second[n, c, i] * scale[c], over i too with `across`; without a second of
// |first[n, c, i]|
extern "C" __global__ void normalize_sums(
    int count, const float* first_data, const float* second_data, const float* scale_data, int num, int channels,
    int inner, float* sums) {
  const int size = channels * inner, step = across ? 1 : inner;
  const int start = across ? blockIdx.x * size : blockIdx.x / inner * size + blockIdx.x % inner;
  float sum = 0;
  for (int k = threadIdx.x; k < (across ? size : channels); k += blockDim.x) {
    const int at = start + k * step;
    const float first = first_data[at];
    sum += (second_data ? first * second_data[at] : fabsf(first)) * scale_of(scale_data, at, channels, inner);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// lengths = l(sums)
extern "C" __global__ void normalize_lengths(int count, const float* sums, float* lengths_data) {
  FOR_EACH(i, count) lengths_data[i] = length_of(sums[i]);
}

// top[n, c, i] = bottom[n, c, i] / l(sums[n, i]) * scale[c]
extern "C" __global__ void normalize_forward(
    int count, const float* bottom_data, const float* sums, const float* scale_data, int num, int channels, int inner,
    float* top_data) {
  FOR_EACH(i, count) {
    const float length = length_of(sums[sum_of(i, channels, inner)]);
    top_data[i] = bottom_data[i] / length * scale_of(scale_data, i, channels, inner);
  }
}

// bottom_diff = top_diff[n, c, i] * scale[c] / l + d * (lengths_diff[n, i] - along[n, i] / l^2), l the bottom's length
// and d its derivative: bottom[n, c, i] / l, or the sign of bottom[n, c, i] with `absolute`
extern "C" __global__ void normalize_backward(
    int count, const float* bottom_data, const float* top_diff, const float* sums, const float* along,
    const float* scale_data, const float* lengths_diff, int num, int channels, int inner, float* bottom_diff) {
  FOR_EACH(i, count) {
    const int at = sum_of(i, channels, inner);
    const float length = length_of(sums[at]), x = bottom_data[i];
    const float of_length = (lengths_diff ? lengths_diff[at] : 0) - along[at] / (length * length);
    const float diff = top_diff[i] * scale_of(scale_data, i, channels, inner) / length;
    bottom_diff[i] = diff + (absolute ? sign_of(x) : x / length) * of_length;
  }
}

// scale_diff[c] += sum over n, i of top_diff[n, c, i] * bottom[n, c, i] / l(sums[n, i])
extern "C" __global__ void normalize_backward_weights(
    int count, const float* bottom_data, const float* top_diff, const float* sums, int num, int channels, int inner,
    float* scale_diff) {
  const auto value = [=](int at) {
    return top_diff[at] * bottom_data[at] / length_of(sums[sum_of(at, channels, inner)]);
  };
  const float sum = shared ? channel_sum(0, 1, 1, num * channels * inner, value)
                           : channel_sum(blockIdx.x, num, channels, inner, value);
  if (threadIdx.x == 0) scale_diff[blockIdx.x] += sum;
}
