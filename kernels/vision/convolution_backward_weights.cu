// Convolution, backward to the weights.     NumPy: caffepy/layers/vision/convolution.py
//
// A product of few results and many terms: nearly always split.
//
// Layout, constants   convolution.cuh
// Launch     caffepy/layers/vision/convolution_plan.py: a block per tile and part of the terms, then the parts' sum.
// Deterministic: a sum is made in the order of images and positions, or of parts made so.
// Source     BVLC Caffe, base_conv_layer.cpp.
#include "convolution.cuh"
#include "unfold.cuh"

// weight_diff[o, c, tap] += sum over p of top_diff[o, p] * bottom[c, what p sees through tap]
//
// Rows are outputs, columns (c, tap), terms the positions of all images.
extern "C" __global__ void __launch_bounds__(threads, resident) convolution_backward_weights(
    const float* __restrict__ bottom_data, const float* __restrict__ top_diff, float* workspace,
    float* __restrict__ weight_diff, int num, int channels, int height, int width, int bottom_first, int bottom_image,
    int bottom_channel, int outputs, int top_height, int top_width, int top_first, int top_image, int top_channel,
    int slabs, int parts, int parts_step) {
  const int positions = top_height * top_width, columns = channels * taps, terms = num * positions;
  const Tile tile(blockIdx.x, outputs, columns);
  const Images images = {num,     channels,   height,    width,     bottom_first, bottom_image, bottom_channel,
                         outputs, top_height, top_width, top_first, top_image,    top_channel};
  const Planes bottom = images.bottom(tile.product);

  const Matrix<&Term::left> tops = {top_diff, top_first + tile.product * outputs * top_channel, top_channel, outputs};
  const auto pixels = seen(unfolded ? workspace : bottom_data, bottom, columns, [=](int n) -> Line {
    const int tap = n % taps, y = tap / kernel_w * dilation_h, x = tap % kernel_w * dilation_w;
    return {bottom.first + n / taps * bottom.channel_step + y * bottom.width + x, y, x};
  });
  const auto term = [=](int k) -> Term {
    const unsigned image = unsigned(k) / unsigned(positions), position = unsigned(k) % unsigned(positions);
    const int y = position / unsigned(top_width) * stride_h - pad_h;
    const int x = position % unsigned(top_width) * stride_w - pad_w;
    const int pixel = image * bottom.image_step + y * bottom.width + x;
    return {int(image * top_image + position), pixel, k < terms ? y : NOWHERE, x};
  };
  Sums sums;
  const int block = multiply<true>(
      term, operand<tile_m, left_vector, true>(tops, tile.m), operand<tile_n, right_vector, true>(pixels, tile.n),
      Share(terms, slabs), sums);

  const Tile done(block, outputs, columns);
  const bool whole = gridDim.y == 1;
  float* const to = whole ? weight_diff : workspace + parts + int(blockIdx.y) * parts_step;
  hand_out<store_vector>(
      sums, done, outputs, columns, [](int n) { return n; },
      [=](int m, int place, const float* values) {
        const auto sum = [=](float old, float more) { return whole ? old + more : more; };
        change<store_vector>(to + (done.product * outputs + m) * columns + place, values, sum);
      });
}

// weight_diff += the sum of its parts
extern "C" __global__ void convolution_backward_weights_sum(
    int count, const float* __restrict__ workspace, float* __restrict__ weight_diff, int number, int parts,
    int parts_step) {
  FOR_EACH(i, count) weight_diff[i] += sum_of_parts(workspace + parts, number, parts_step, i);
}
