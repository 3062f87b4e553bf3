// Stochastic pooling: in training a value drawn with a chance in proportion to itself, in testing the mean weighted by
// the values.     NumPy: caffepy/layers/vision/stochastic_pooling.py
//
// Layout     planes, n * c of them, of height x width; tops of pooled_height x pooled_width; bottoms of at least 0.
// Launch     caffepy/layers/vision/pooling_plan.py, as in pooling.cu
// Constants  kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w; strip, tile_rows, tile_windows
// Deterministic: what is drawn hangs on seed[0] and the window's place alone; sums are taken row by row.
// Source     Zeiler & Fergus 2013; BVLC Caffe, pooling_layer.cu
#include "common.cuh"
#include "philox.cuh"
#include "window.cuh"

// mask[o] = h * width + w of the first pixel at which the running sum is u[o] * sum of the window; top = that pixel
extern "C" __global__ void __launch_bounds__(128) stochastic_pool_forward(
    int planes, const float* bottom_data, const int* seed, int height, int width, int pooled_height, int pooled_width,
    int* mask, float* top_data) {
  const Position at = position();
  if (at.plane >= planes || at.w >= pooled_width) return;
  const float* const plane = bottom_data + at.plane * height * width;
  const int left = at.w * stride_w, right = min(left + kernel_w, width);
  for (int ph = at.h * strip; ph < min((at.h + 1) * strip, pooled_height); ++ph) {
    const int top = ph * stride_h, bottom = min(top + kernel_h, height);
    float total = 0;
    for (int h = top; h < bottom; ++h) {
      for (int w = left; w < right; ++w) total += plane[h * width + w];
    }
    const int o = (at.plane * pooled_height + ph) * pooled_width + at.w;
    const Block block = philox(o / 8 + 1, seed[0]);
    float threshold = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) {  // an index known only at run time would take the block out of the registers
      if (o % 8 == j) threshold = uniform(block, j) * total;
    }
    float running = 0, drawn = 0;
    int place = -1;
    for (int h = top; h < bottom && place < 0; ++h) {
      for (int w = left; w < right && place < 0; ++w) {
        const float value = plane[h * width + w];
        running += value;
        if (running >= threshold) {
          drawn = value;
          place = h * width + w;
        }
      }
    }
    mask[o] = place;
    top_data[o] = drawn;
  }
}

struct Weighted {
  static constexpr float OUTSIDE = 0;
  float total = FLT_TINY, squares = 0;  // so that zeros have the mean zero
  __device__ void see(float pixel, int) {
    total += pixel;
    squares += pixel * pixel;
  }
  __device__ void below(const Weighted& row) {
    total += row.total;
    squares += row.squares;
  }
};

// top = sum of bottom^2 / sum of bottom, over the window
extern "C" __global__ void __launch_bounds__(128) weighted_pool_forward(
    int planes, const float* bottom_data, int height, int width, int pooled_height, int pooled_width, float* top_data) {
  per_window<Weighted>(
      planes, bottom_data, height, width, pooled_height, pooled_width,
      [&](const Weighted& window, int i, int, int) { top_data[i] = window.squares / window.total; });
}

// bottom_diff = the sum over the windows of top_diff * (2 bottom - top) / sum of bottom
extern "C" __global__ void __launch_bounds__(256, 2) weighted_pool_backward(
    int planes, const float* bottom_data, const float* top_diff, int height, int width, int pooled_height,
    int pooled_width, float* bottom_diff, int rows, int rows_at_once, int columns) {
  struct Mean {
    float factor = 0, top = 0;
  };
  per_pixel<Mean, Weighted>(
      planes, bottom_data, height, width, pooled_height, pooled_width, bottom_diff, rows, rows_at_once, columns,
      [&](const Weighted& window, int plane, int ph, int pw) -> Mean {
        const float diff = top_diff[(plane * pooled_height + ph) * pooled_width + pw];
        return {diff / window.total, window.squares / window.total};
      },
      [&](const Mean& mean, int i) { return mean.factor * (2 * bottom_data[i] - mean.top); });
}
