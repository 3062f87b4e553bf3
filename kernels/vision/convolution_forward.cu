// Convolution, forward.     NumPy: caffepy/layers/vision/convolution.py
//
// A product whose right operand is never made: a pixel is looked for where position and tap say, and the padding is 0.
//
// Layout, constants   convolution.cuh
// Launch     caffepy/layers/vision/convolution_plan.py: a block per tile and part of the terms, then the parts' sum.
// Deterministic: a sum is made in the order of channels and taps, or of parts made so.
// Source     BVLC Caffe, base_conv_layer.cpp; products of this kind: NVIDIA's CUTLASS, "implicit GEMM".
#include "convolution.cuh"
#include "rectified.cuh"
#include "unfold.cuh"

// top[o, p] = bias[o] + sum over c, tap of weight[o, c, tap] * bottom[c, what p sees through tap]
//
// Rows are outputs, columns positions of all images, terms (c, tap).
extern "C" __global__ void __launch_bounds__(threads, resident) convolution_forward(
    const float* __restrict__ bottom_data, const Weight* __restrict__ weight_data, const float* __restrict__ bias_data,
    float* workspace, float* __restrict__ top_data, int num, int channels, int height, int width, int bottom_first,
    int bottom_image, int bottom_channel, int outputs, int top_height, int top_width, int top_first, int top_image,
    int top_channel, int slabs, int parts, int parts_step) {
  const int positions = top_height * top_width, columns = num * positions, terms = channels * taps;
  const Tile tile(blockIdx.x, outputs, columns);
  const Images images = {num,     channels,   height,    width,     bottom_first, bottom_image, bottom_channel,
                         outputs, top_height, top_width, top_first, top_image,    top_channel};
  const Planes bottom = images.bottom(tile.product);

  const Matrix<&Term::left, Weight> weights = {weight_data, tile.product * outputs * terms, terms, outputs};
  const auto pixels = seen(unfolded ? workspace : bottom_data, bottom, columns, [=](int n) -> Line {
    const int image = bottom.first + n / positions * bottom.image_step, position = n % positions;
    if constexpr (pointwise) return {image + position, 0, 0};
    const int y = position / top_width * stride_h - pad_h, x = position % top_width * stride_w - pad_w;
    return {image + y * bottom.width + x, y, x};
  });
  const auto term = [=](int k) -> Term {
    const int tap = unsigned(k) % taps, y = tap / kernel_w * dilation_h, x = tap % kernel_w * dilation_w;
    return {k, int(unsigned(k) / taps) * bottom.channel_step + y * bottom.width + x, k < terms ? y : NOWHERE, x};
  };
  Sums sums;
  const int block = multiply<!pointwise>(
      term, operand<tile_m, left_vector, true>(weights, tile.m), operand<tile_n, right_vector, false>(pixels, tile.n),
      Share(terms, slabs), sums);

  const Tile done(block, outputs, columns);
  const bool whole = gridDim.y == 1;
  float* const to = whole ? top_data + top_first : workspace + parts + int(blockIdx.y) * parts_step;
  hand_out<store_vector>(
      sums, done, outputs, columns, [=](int n) { return n / positions * top_image + n % positions; },
      [=](int m, int place, const float* values) {
        const int output = done.product * outputs + m;
        const float bias = whole && bias_data != nullptr ? bias_data[output] : 0;
        change<store_vector>(to + output * top_channel + place, values, [=](float, float sum) {
          return whole ? rectified(sum + bias) : sum;
        });
      });
}

// top = bias + the sum of its parts
extern "C" __global__ void convolution_forward_sum(
    int count, const float* __restrict__ bias_data, const float* __restrict__ workspace,
    float* __restrict__ top_data, int outputs, int inner, int top_first, int number, int parts, int parts_step) {
  FOR_EACH(i, count) {
    const float bias = bias_data != nullptr ? bias_data[i / inner % outputs] : 0;
    top_data[top_first + i] = rectified(bias + sum_of_parts(workspace + parts, number, parts_step, i));
  }
}
