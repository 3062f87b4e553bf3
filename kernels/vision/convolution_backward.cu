// Convolution, backward to the bottom.     NumPy: caffepy/layers/vision/convolution.py
//
// With stride 2, only every second position a pixel's row could be seen from has a tap for it, and the next row has the
// other taps. Pixels are therefore sorted by phase, the residue of their padded coordinates over the stride: products
// have no zeros then. Either each phase is a product of its own, or, for few channels, the phases are more rows of one.
//
// Layout, constants   convolution.cuh; by_phase: a product for each phase
// Launch     caffepy/layers/vision/convolution_plan.py: a block per tile and part of the terms, then the parts' sum.
// Deterministic: a pixel's sum is made in the order of outputs and taps, or of parts made so.
// Source     BVLC Caffe, base_conv_layer.cpp, col2im.
#include "convolution.cuh"
#include "unfold.cuh"

constexpr int gcd(int a, int b) { return b == 0 ? a : gcd(b, a % b); }

// One axis of a phase.
template <int kernel, int stride, int pad, int dilation>
struct Phase {
  static constexpr int tap_step = stride / gcd(stride, dilation);
  int first_pixel, pixels;  // first_pixel, first_pixel + stride, ...
  int first_tap, taps;      // first_tap, first_tap + tap_step, ...
  int first_position;       // where a tap of distance 0, if it is the phase's, would see first_pixel from

  __device__ __forceinline__ Phase(int residue, int extent) {
    first_pixel = (residue + (pad / stride + 1) * stride - pad) % stride;
    pixels = (extent - first_pixel + stride - 1) / stride;
    first_position = (first_pixel + pad) / stride;
    first_tap = 0;
    while (first_tap < tap_step && first_tap * dilation % stride != residue) ++first_tap;
    taps = first_tap < tap_step ? max(0, (kernel - first_tap + tap_step - 1) / tap_step) : 0;
  }
  __device__ __forceinline__ int tap(int i) const { return first_tap + i * tap_step; }
  // How many positions before first_position the one is that sees first_pixel through tap(i).
  __device__ __forceinline__ int back(int i) const { return tap(i) * dilation / stride; }
};

// A tile of a product, which is one phase of one group: its rows are channels, its columns the phase's pixels of all
// images, its terms (output, tap of the phase).
struct PhaseTile : Tile {
  int group_number, pixels, columns;
  Phase<kernel_h, stride_h, pad_h, dilation_h> y;
  Phase<kernel_w, stride_w, pad_w, dilation_w> x;

  __device__ __forceinline__ PhaseTile(int block, const Images& images)
      : Tile(
            block, images.channels,
            images.num * ((images.height + stride_h - 1) / stride_h) * ((images.width + stride_w - 1) / stride_w)),
        group_number(product / (stride_h * stride_w)),
        y(product / stride_w % stride_h, images.height),
        x(product % stride_w, images.width) {
    pixels = y.pixels * x.pixels;
    columns = images.num * pixels;
  }
};

// Each phase a product.
struct Phases {
  static __device__ __forceinline__ void multiply_tile(
      const float* top_diff, const Weight* weight_data, float* to, const Images& images, int slabs) {
    const PhaseTile tile(blockIdx.x, images);
    if (tile.n >= tile.columns) return;  // other phases have more pixels
    const Planes top = images.top(tile.group_number);
    const int terms = images.outputs * tile.y.taps * tile.x.taps;

    const int first_weight = tile.group_number * images.outputs * images.channels * taps;
    const Matrix<&Term::left, Weight> weights = {weight_data, first_weight, taps, images.channels};
    const auto positions = seen(top_diff, top, tile.columns, [=](int n) -> Line {
      const int image = top.first + n / tile.pixels * top.image_step, pixel = n % tile.pixels;
      if constexpr (pointwise) return {image + pixel, 0, 0};
      const int y = tile.y.first_position + pixel / tile.x.pixels, x = tile.x.first_position + pixel % tile.x.pixels;
      return {image + y * top.width + x, y, x};
    });
    const auto term = [=](int k) -> Term {
      const unsigned taps_x = max(1, tile.x.taps), taps_yx = max(1, tile.y.taps) * taps_x, tap = unsigned(k) % taps_yx;
      const int output = unsigned(k) / taps_yx, i = tap / taps_x, j = tap % taps_x;
      const int y = -tile.y.back(i), x = -tile.x.back(j);
      const int weight = output * images.channels * taps + tile.y.tap(i) * kernel_w + tile.x.tap(j);
      return {weight, output * top.channel_step + y * top.width + x, k < terms ? y : NOWHERE, x};
    };
    Sums sums;
    const int block = multiply<!pointwise>(
        term, operand<tile_m, left_vector, !pointwise>(weights, tile.m),
        operand<tile_n, right_vector, false>(positions, tile.n), Share(terms, slabs), sums);

    const PhaseTile done(block, images);
    const auto place = [=](int n) {
      const int pixel = n % done.pixels;
      const int y = done.y.first_pixel + pixel / done.x.pixels * stride_h;
      const int x = done.x.first_pixel + pixel % done.x.pixels * stride_w;
      return n / done.pixels * images.bottom_image + y * images.width + x;
    };
    hand_out<store_vector>(sums, done, images.channels, done.columns, place, [=](int m, int n, const float* values) {
      float* const channel = to + (done.group_number * images.channels + m) * images.bottom_channel;
      change<store_vector>(channel + n, values, [](float, float sum) { return sum; });
    });
  }
};

// The pixels of one phase after another that the same positions see make a cell of stride_h x stride_w pixels. Rows are
// (channel, pixel of a cell), columns the cells of all images, terms (output, which cell the position is away). Without
// dilation only.
struct Cells {
  static constexpr int size = stride_h * stride_w, across = (kernel_w + stride_w - 1) / stride_w;
  static constexpr int distances = (kernel_h + stride_h - 1) / stride_h * across;

  struct Weights {
    const Weight* data;
    int first, extent;
    __device__ __forceinline__ Line line(int m) const {
      const int y = m % size / stride_w, x = m % stride_w;
      return {first + m / size * taps + y * kernel_w + x, y, x};
    }
    __device__ __forceinline__ int offset(const Term& term) const { return term.left; }
    __device__ __forceinline__ bool sees(const Line& at, const Term& term) const {
      return term.y != NOWHERE && at.y - term.y * stride_h < kernel_h && at.x - term.x * stride_w < kernel_w;
    }
  };

  static __device__ __forceinline__ void multiply_tile(
      const float* top_diff, const Weight* weight_data, float* to, const Images& images, int slabs) {
    const int first_y = pad_h / stride_h, cells_y = (images.height - 1 + pad_h) / stride_h - first_y + 1;
    const int first_x = pad_w / stride_w, cells_x = (images.width - 1 + pad_w) / stride_w - first_x + 1;
    const int cells = cells_y * cells_x, rows = images.channels * size, columns = images.num * cells;
    const int terms = images.outputs * distances;
    const Tile tile(blockIdx.x, rows, columns);
    const Planes top = images.top(tile.product);

    const Weights weights = {weight_data, tile.product * images.outputs * images.channels * taps, rows};
    const auto positions = seen(top_diff, top, columns, [=](int n) -> Line {
      const int y = first_y + n % cells / cells_x, x = first_x + n % cells % cells_x;
      return {top.first + n / cells * top.image_step + y * top.width + x, y, x};
    });
    const auto term = [=](int k) -> Term {
      const int output = unsigned(k) / distances, i = unsigned(k) % distances / across, j = unsigned(k) % across;
      const int weight = output * images.channels * taps + i * stride_h * kernel_w + j * stride_w;
      return {weight, output * top.channel_step - i * top.width - j, k < terms ? -i : NOWHERE, -j};
    };
    Sums sums;
    const int block = multiply<true>(
        term, operand<tile_m, 1, true>(weights, tile.m), operand<tile_n, 1, false>(positions, tile.n),
        Share(terms, slabs), sums);

    const Tile done(block, rows, columns);
    const auto place = [=](int n) -> Line {
      const int y = (first_y + n % cells / cells_x) * stride_h - pad_h;
      return {n / cells * images.bottom_image, y, (first_x + n % cells % cells_x) * stride_w - pad_w};
    };
    hand_out<1>(sums, done, rows, columns, place, [=](int m, const Line& cell, const float* value) {
      const int channel = done.product * images.channels + m / size;
      const int y = cell.y + m % size / stride_w, x = cell.x + m % stride_w;
      if (unsigned(y) < unsigned(images.height) && unsigned(x) < unsigned(images.width))
        to[channel * images.bottom_channel + cell.offset + y * images.width + x] = *value;
    });
  }
};

// bottom_diff[c, pixel] = sum over o, tap of weight[o, c, tap] * top_diff[o, the position that sees pixel through tap]
extern "C" __global__ void __launch_bounds__(threads, resident) convolution_backward(
    const float* __restrict__ top_diff, const Weight* __restrict__ weight_data, float* workspace,
    float* __restrict__ bottom_diff, int num, int channels, int height, int width, int bottom_first, int bottom_image,
    int bottom_channel, int outputs, int top_height, int top_width, int top_first, int top_image, int top_channel,
    int slabs, int parts, int parts_step) {
  const Images images = {num,     channels,   height,    width,     bottom_first, bottom_image, bottom_channel,
                         outputs, top_height, top_width, top_first, top_image,    top_channel};
  float* const whole = (unfolded ? workspace : bottom_diff) + bottom_first;
  float* const to = gridDim.y == 1 ? whole : workspace + parts + int(blockIdx.y) * parts_step;
  if constexpr (by_phase) Phases::multiply_tile(top_diff, weight_data, to, images, slabs);
  else Cells::multiply_tile(top_diff, weight_data, to, images, slabs);
}

// bottom_diff = the sum of its parts
extern "C" __global__ void convolution_backward_sum(
    int count, float* workspace, float* __restrict__ bottom_diff, int bottom_first, int number, int parts,
    int parts_step) {
  float* const to = (unfolded ? workspace : bottom_diff) + bottom_first;
  FOR_EACH(i, count) to[i] = sum_of_parts(workspace + parts, number, parts_step, i);
}
