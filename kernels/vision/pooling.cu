// Max and average pooling.     NumPy: caffepy/layers/vision/pooling.py
//
// Layout     planes, n * c of them, of height x width; tops of pooled_height x pooled_width.
// Launch     pooling_plan.py: forward, one thread for a strip of windows; backward, one block for a tile
//            of pixels, which gathers from the windows that see the tile: nothing is scattered.
// Constants  kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w; strip, tile_rows, tile_windows
// Deterministic: a pixel adds its windows row by row.
// Source     BVLC Caffe, pooling_layer.cpp: only what is above -FLT_MAX can be a maximum, and the first one row by row
//            is; an average's area counts the padding as far as height + pad and width + pad. A window wholly outside
//            has the maximum -FLT_MAX, the average 0, and gives no diff.
#include "common.cuh"
#include "window.cuh"

struct Sum {
  static constexpr float OUTSIDE = 0;
  float value = 0;
  __device__ void see(float pixel, int) { value += pixel; }
  __device__ void below(const Sum& row) { value += row.value; }
};

// The first greatest value and its place; -1 without one.
struct Winner {
  static constexpr float OUTSIDE = FLT_LOWEST;
  float value = FLT_LOWEST;
  int place = -1;
  __device__ void see(float pixel, int where) {
    if (pixel > value) *this = {pixel, where};
  }
  __device__ void below(const Winner& row) { see(row.value, row.place); }
};

__device__ __forceinline__ float area(int ph, int pw, int height, int width) {
  const int rows = min(kernel_h, height + 2 * pad_h - ph * stride_h);
  const int columns = min(kernel_w, width + 2 * pad_w - pw * stride_w);
  return float(max(rows, 1)) * float(max(columns, 1));
}

// top = the greatest value above -FLT_MAX under the window, else -FLT_MAX
// mask = h * width + w of the first such value, row by row, else -1
extern "C" __global__ void __launch_bounds__(128) max_pool_forward(
    int planes, const float* bottom_data, int height, int width, int pooled_height, int pooled_width, int* mask,
    float* top_data) {
  per_window<Winner>(
      planes, bottom_data, height, width, pooled_height, pooled_width, [&](const Winner& window, int i, int, int) {
        mask[i] = window.place;
        top_data[i] = window.value;
      });
}

// top = sum over the window / its area
extern "C" __global__ void __launch_bounds__(128) ave_pool_forward(
    int planes, const float* bottom_data, int height, int width, int pooled_height, int pooled_width, float* top_data) {
  per_window<Sum>(
      planes, bottom_data, height, width, pooled_height, pooled_width,
      [&](const Sum& window, int i, int ph, int pw) { top_data[i] = window.value / area(ph, pw, height, width); });
}

// bottom_diff = the sum of the top_diff of every window whose mask is this place
extern "C" __global__ void __launch_bounds__(256) max_pool_backward(
    int planes, const float* top_diff, const int* mask, int height, int width, int pooled_height, int pooled_width,
    float* bottom_diff, int rows, int rows_at_once, int columns) {
  per_pixel<Diff, Nothing>(
      planes, nullptr, height, width, pooled_height, pooled_width, bottom_diff, rows, rows_at_once, columns,
      [&](const Nothing&, int plane, int ph, int pw) -> Diff {
        const int o = (plane * pooled_height + ph) * pooled_width + pw;
        return {mask[o] < 0 ? -1 : plane * height * width + mask[o], top_diff[o]};
      },
      [](const Diff& diff, int i) { return diff.at(i); });
}

// bottom_diff = the sum of top_diff / area of every window here
extern "C" __global__ void __launch_bounds__(256) ave_pool_backward(
    int planes, const float* top_diff, int height, int width, int pooled_height, int pooled_width,
    float* bottom_diff, int rows, int rows_at_once, int columns) {
  per_pixel<float, Nothing>(
      planes, nullptr, height, width, pooled_height, pooled_width, bottom_diff,
      rows, rows_at_once, columns,
      [&](const Nothing&, int plane, int ph, int pw) {
        return top_diff[(plane * pooled_height + ph) * pooled_width + pw] / area(ph, pw, height, width);
      },
      [](float share, int) { return share; });
}
