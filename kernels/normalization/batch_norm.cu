// BatchNorm: each channel by its statistics.     NumPy: caffepy/layers/normalization/batch_norm.py
//
// Layout     (num, channels, inner); statistics (channels). `count` elements.
// Launch     1-D, any grid (grid-stride); four at a time where `inner` and the arrays allow it. Deterministic.
// Constants  eps
// Source     Ioffe & Szegedy 2015; BVLC Caffe, batch_norm_layer.cpp.
#include "channels.cuh"
#include "fours.cuh"

__device__ __forceinline__ float inverse_deviation(float variance) { return 1 / sqrtf(variance + eps); }

template <class T>
__device__ __forceinline__ void normalize(
    int count, const T* x, const float* mean, const float* variance, int channels, int inner, T* normalized, T* y) {
  FOR_EACH(i, count) {
    const int c = channel_of(i, channels, inner);
    const T value = (x[i] - mean[c]) * inverse_deviation(variance[c]);
    if (normalized) normalized[i] = value;
    y[i] = value;
  }
}

// top[n, c, i] = (bottom[n, c, i] - mean[c]) / sqrt(variance[c] + eps); normalized = top; top may be bottom
extern "C" __global__ void batch_norm_forward(
    int count, const float* bottom_data, const float* mean, const float* variance, int num, int channels, int inner,
    float* normalized, float* top_data) {
  if (inner % 4 == 0 && aligned(bottom_data, normalized, top_data)) {
    normalize(count / 4, (const float4*)bottom_data, mean, variance, channels, inner / 4, (float4*)normalized,
              (float4*)top_data);
  } else {
    normalize(count, bottom_data, mean, variance, channels, inner, normalized, top_data);
  }
}

template <class T>
__device__ __forceinline__ void divide(
    int count, const T* dy, const float* variance, int channels, int inner, T* dx) {
  FOR_EACH(i, count) dx[i] = dy[i] * inverse_deviation(variance[channel_of(i, channels, inner)]);
}

// bottom_diff[n, c, i] = top_diff[n, c, i] / sqrt(variance[c] + eps)
extern "C" __global__ void batch_norm_global_backward(
    int count, const float* top_diff, const float* variance, int num, int channels, int inner, float* bottom_diff) {
  if (inner % 4 == 0 && aligned(top_diff, bottom_diff)) {
    divide(count / 4, (const float4*)top_diff, variance, channels, inner / 4, (float4*)bottom_diff);
  } else {
    divide(count, top_diff, variance, channels, inner, bottom_diff);
  }
}

template <class T>
__device__ __forceinline__ void derive(
    int count, const T* dy, const T* normalized, const float* mean_diff, const float* mean_product,
    const float* variance, int channels, int inner, T* dx) {
  FOR_EACH(i, count) {
    const int c = channel_of(i, channels, inner);
    const T along = normalized[i] * mean_product[c] + mean_diff[c];
    dx[i] = (dy[i] - along) * inverse_deviation(variance[c]);
  }
}

// bottom_diff[n, c, i] = (top_diff - mean_diff[c] - mean_product[c] * normalized) / sqrt(variance[c] + eps)
extern "C" __global__ void batch_norm_backward(
    int count, const float* top_diff, const float* normalized, const float* mean_diff, const float* mean_product,
    const float* variance, int num, int channels, int inner, float* bottom_diff) {
  if (inner % 4 == 0 && aligned(top_diff, normalized, bottom_diff)) {
    derive(count / 4, (const float4*)top_diff, (const float4*)normalized, mean_diff, mean_product, variance, channels,
           inner / 4, (float4*)bottom_diff);
  } else {
    derive(count, top_diff, normalized, mean_diff, mean_product, variance, channels, inner, bottom_diff);
  }
}
