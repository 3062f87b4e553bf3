// Convolution, forward, with what follows in place.     NumPy: caffepy/layers/vision/convolution_normalized.py
//
// Layout, constants   convolution.cuh, normalized.cuh
// Launch     caffepy/layers/vision/convolution_plan.py: a block per tile and part of the terms, then the parts' sum.
// Deterministic.
// Source     convolution_forward.cuh
#include "convolution_forward.cuh"
#include "normalized.cuh"

// top = what BatchNorm, Scale and ReLU make of the convolution
extern "C" __global__ void __launch_bounds__(threads, resident) convolution_normalized(
    const float* __restrict__ bottom_data, const Weight* __restrict__ weight_data,
    const float* __restrict__ bias_data, const float* __restrict__ mean_sum, const float* __restrict__ variance_sum,
    const float* __restrict__ weight_sum, float* __restrict__ mean, float* __restrict__ variance,
    const float* __restrict__ scale_data, const float* __restrict__ shift_data, float* __restrict__ kept,
    float* workspace, float* __restrict__ top_data,
    int num, int channels, int height, int width, int bottom_first, int bottom_image, int bottom_channel, int outputs,
    int top_height, int top_width, int top_first, int top_image, int top_channel, int slabs, int parts,
    int parts_step) {
  const Images images = {num,     channels,   height,    width,     bottom_first, bottom_image, bottom_channel,
                         outputs, top_height, top_width, top_first, top_image,    top_channel};
  const Normalized finish = {bias_data, mean_sum, variance_sum, weight_sum, mean, variance, scale_data, shift_data, kept};
  convolve(bottom_data, weight_data, workspace, top_data, images, slabs, parts, parts_step, finish);
}

// The same of the sum of its parts
extern "C" __global__ void convolution_normalized_sum(
    int count,
    const float* __restrict__ bias_data, const float* __restrict__ mean_sum, const float* __restrict__ variance_sum,
    const float* __restrict__ weight_sum, float* __restrict__ mean, float* __restrict__ variance,
    const float* __restrict__ scale_data, const float* __restrict__ shift_data, float* __restrict__ kept,
    const float* __restrict__ workspace, float* __restrict__ top_data, int outputs, int inner, int top_first, int number,
    int parts, int parts_step) {
  const Normalized finish = {bias_data, mean_sum, variance_sum, weight_sum, mean, variance, scale_data, shift_data, kept};
  finish_parts(count, workspace, top_data, outputs, inner, top_first, number, parts, parts_step, finish);
}
