// Scale and Bias.     NumPy: caffepy/layers/common/scale.py
//
// Layout     (outer, channels, inner); scale, bias (channels).
// Launch     1-D over `count` elements, any grid (grid-stride), four at a time where `inner` and the arrays allow it.
//            Deterministic.
// Source     BVLC Caffe, scale_layer.cpp and bias_layer.cpp.
#include "channels.cuh"
#include "fours.cuh"

template <class T>
__device__ __forceinline__ void scaled(
    int count, const T* x, const float* scale, const float* bias, int channels, int inner, T* kept, T* y) {
  FOR_EACH(i, count) {
    const int c = channel_of(i, channels, inner);
    T value = x[i];
    if (kept) kept[i] = value;
    if (scale) value = value * scale[c];
    y[i] = bias ? value + bias[c] : value;
  }
}

// kept = bottom; top[o, c, i] = bottom[o, c, i] * scale[c] + bias[c]; top may be bottom, a missing scale is 1
extern "C" __global__ void scale_forward(
    int count, const float* bottom_data, const float* scale_data, const float* bias_data, int outer, int channels,
    int inner, float* kept, float* top_data) {
  if (inner % 4 == 0 && aligned(bottom_data, kept, top_data)) {
    scaled(count / 4, (const float4*)bottom_data, scale_data, bias_data, channels, inner / 4, (float4*)kept,
           (float4*)top_data);
  } else {
    scaled(count, bottom_data, scale_data, bias_data, channels, inner, kept, top_data);
  }
}

// bottom_diff[o, c, i] = top_diff[o, c, i] * scale[c]
extern "C" __global__ void scale_backward(
    int count, const float* top_diff, const float* scale_data, int outer, int channels, int inner,
    float* bottom_diff) {
  if (inner % 4 == 0 && aligned(top_diff, bottom_diff)) {
    scaled(count / 4, (const float4*)top_diff, scale_data, nullptr, channels, inner / 4, (float4*)nullptr,
           (float4*)bottom_diff);
  } else {
    scaled(count, top_diff, scale_data, nullptr, channels, inner, (float*)nullptr, bottom_diff);
  }
}
