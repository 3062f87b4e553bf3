// Convolution's forward product, whatever becomes of its sums.
//
// A product whose right operand is never made: a pixel is looked for where position and tap say, and the padding is 0.
// Deterministic: a sum is made in the order of channels and taps, or of parts made so.
// Source     BVLC Caffe, base_conv_layer.cpp; products of this kind: NVIDIA's CUTLASS, "implicit GEMM".
#pragma once
#include "convolution.cuh"
#include "unfold.cuh"

// What becomes of the sum over c, tap of weight[o, c, tap] * bottom[c, what p sees through tap] goes to top[o, p].
//
// Rows are outputs, columns positions of all images, terms (c, tap).
template <class Finish>
__device__ __forceinline__ void convolve(
    const float* __restrict__ bottom_data, const Weight* __restrict__ weight_data, float* workspace,
    float* __restrict__ top_data, const Images& images, int slabs, int parts, int parts_step, const Finish& finish) {
  const int positions = images.top_height * images.top_width, columns = images.num * positions;
  const int terms = images.channels * taps, outputs = images.outputs, top_width = images.top_width;
  const Tile tile(blockIdx.x, outputs, columns);
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
  float* const part = workspace + parts + int(blockIdx.y) * parts_step;
  const bool whole = gridDim.y == 1;
  hand_out<store_vector>(
      sums, done, outputs, columns,
      [=](int n) { return n / positions * images.top_image + n % positions; },
      [=](int m, int place, const float* values) {
        const int output = done.product * outputs + m, at = output * images.top_channel + place;
        if (whole) finish.of(output).template write<store_vector>(top_data, images.top_first + at, place == 0, values);
        else change<store_vector>(part + at, values, [](float, float sum) { return sum; });
      });
}

// The same of the sum of its parts, `count` results from top_first on.
template <class Finish>
__device__ __forceinline__ void finish_parts(
    int count, const float* __restrict__ workspace, float* __restrict__ top_data, int outputs, int inner, int top_first,
    int number, int parts, int parts_step, const Finish& finish) {
  FOR_EACH(i, count) {
    const float sum = sum_of_parts(workspace + parts, number, parts_step, i);
    const int output = i / inner % outputs;
    finish.of(output).template write<1>(top_data, top_first + i, i == output * inner, &sum);
  }
}
