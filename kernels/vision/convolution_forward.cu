// Convolution, forward.     NumPy: caffepy/layers/vision/convolution.py
//
// Layout, constants   convolution.cuh, plain.cuh
// Launch     caffepy/layers/vision/convolution_plan.py: a block per tile and part of the terms, then the parts' sum.
// Deterministic.
// Source     convolution_forward.cuh
#include "convolution_forward.cuh"
#include "plain.cuh"

// top[o, p] = rectified(bias[o] + sum over c, tap of weight[o, c, tap] * bottom[c, what p sees through tap])
extern "C" __global__ void __launch_bounds__(threads, resident) convolution_forward(
    const float* __restrict__ bottom_data, const Weight* __restrict__ weight_data, const float* __restrict__ bias_data,
    float* workspace, float* __restrict__ top_data,
    int num, int channels, int height, int width, int bottom_first, int bottom_image, int bottom_channel, int outputs,
    int top_height, int top_width, int top_first, int top_image, int top_channel, int slabs, int parts,
    int parts_step) {
  const Images images = {num,     channels,   height,    width,     bottom_first, bottom_image, bottom_channel,
                         outputs, top_height, top_width, top_first, top_image,    top_channel};
  convolve(bottom_data, weight_data, workspace, top_data, images, slabs, parts, parts_step, Plain{bias_data});
}

// top = rectified(bias + the sum of its parts)
extern "C" __global__ void convolution_forward_sum(
    int count, const float* __restrict__ bias_data, const float* __restrict__ workspace, float* __restrict__ top_data,
    int outputs, int inner, int top_first, int number, int parts, int parts_step) {
  finish_parts(count, workspace, top_data, outputs, inner, top_first, number, parts, parts_step, Plain{bias_data});
}
