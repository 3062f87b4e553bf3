// Depthwise convolution, forward, with what follows in place.     NumPy: caffepy/layers/vision/convolution_normalized.py
//
// Layout, constants, launch   depthwise.cu, normalized.cuh. Deterministic.
// Source     BVLC Caffe, base_conv_layer.cpp.
#include "depthwise.cuh"
#include "normalized.cuh"

// top = what BatchNorm, Scale and ReLU make of the sum over taps of weight * bottom
extern "C" __global__ void __launch_bounds__(256) depthwise_normalized(
    int planes, const float* __restrict__ bottom_data, const float* __restrict__ weight_data,
    const float* __restrict__ bias_data, const float* __restrict__ mean_sum, const float* __restrict__ variance_sum,
    const float* __restrict__ weight_sum, float* __restrict__ mean, float* __restrict__ variance,
    const float* __restrict__ scale_data, const float* __restrict__ shift_data, float* __restrict__ kept,
    float* __restrict__ top_data, int channels, int height, int width, int outputs,
    int top_height, int top_width) {
  const Normalized finish = {bias_data, mean_sum, variance_sum, weight_sum, mean, variance, scale_data, shift_data, kept};
  sum_staged(
      planes, bottom_data, weight_data, top_data, channels, height, width, outputs, top_height, top_width,
      finish);
}

// The same, a thread per position and no shared memory
extern "C" __global__ void depthwise_normalized_apart(
    int count, const float* __restrict__ bottom_data, const float* __restrict__ weight_data,
    const float* __restrict__ bias_data, const float* __restrict__ mean_sum, const float* __restrict__ variance_sum,
    const float* __restrict__ weight_sum, float* __restrict__ mean, float* __restrict__ variance,
    const float* __restrict__ scale_data, const float* __restrict__ shift_data, float* __restrict__ kept,
    float* __restrict__ top_data, int channels, int height, int width, int outputs,
    int top_height, int top_width) {
  const Normalized finish = {bias_data, mean_sum, variance_sum, weight_sum, mean, variance, scale_data, shift_data, kept};
  sum_apart(
      count, bottom_data, weight_data, top_data, channels, height, width, outputs, top_height, top_width,
      finish);
}
