// Correlation.     NumPy: caffepy/layers/flow/correlation.py
//
// Layout     bottoms (num, channels, height, width), top (num, displacements, top_height, top_width).
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic: backward gathers.
// Constants  kernel_size, stride_1, stride_2, begin_y, begin_x, shift_y, shift_x, grid_height, grid_width, subtract
// Source     Fischer et al. 2015 (FlowNet), correlation_layer.cu; SUBTRACT with its true derivative.
#include "common.cuh"

__device__ __forceinline__ bool is_inside(int y, int x, int height, int width) {
  return unsigned(y) < unsigned(height) && unsigned(x) < unsigned(width);
}

// top[n, d, i, j] = the mean over c and the patch of first[f] * second[f + s], or of |first[f] - second[f + s]|
extern "C" __global__ void correlation_forward(
    int count, const float* first_data, const float* second_data, int channels, int height, int width, int top_height,
    int top_width, float* top_data) {
  const int plane = height * width, displacements = grid_height * grid_width;
  FOR_EACH(t, count) {
    const unsigned row = unsigned(t) / unsigned(top_width), map = row / unsigned(top_height);
    const int j = t - row * top_width, i = row - map * top_height;
    const int n = map / unsigned(displacements), d = map - n * displacements;
    const int step_y = shift_y + d / grid_width * stride_2, step_x = shift_x + d % grid_width * stride_2;
    const int start = n * channels * plane;
    float sum = 0;
    for (int ky = 0; ky < kernel_size; ++ky) {
      for (int kx = 0; kx < kernel_size; ++kx) {
        const int y = i * stride_1 + begin_y + ky, x = j * stride_1 + begin_x + kx;
        const bool in_first = is_inside(y, x, height, width);
        const bool in_second = is_inside(y + step_y, x + step_x, height, width);
        if (subtract ? !in_first && !in_second : !in_first || !in_second) continue;
        const int here = start + y * width + x, there = here + step_y * width + step_x;
        for (int c = 0; c < channels; ++c) {
          const float first = in_first ? first_data[here + c * plane] : 0;
          const float second = in_second ? second_data[there + c * plane] : 0;
          sum += subtract ? fabsf(first - second) : first * second;
        }
      }
    }
    top_data[t] = sum / (channels * kernel_size * kernel_size);
  }
}

// The positions whose patches have a place in them: from first to last.
struct Range {
  int first, last;
};

__device__ __forceinline__ Range positions_of(int place, int positions) {
  if (place < 0) return {0, -1};
  const int before = place - kernel_size + 1;
  return {before > 0 ? (before + stride_1 - 1) / stride_1 : 0, min(place / stride_1, positions - 1)};
}

// bottom_diff[y] = the mean over d, i, j of top_diff[n, d, i, j] * other[y + side * s], where y is in the patch of
// (i, j) (side 1), or y - s (side -1); SUBTRACT: * sign(bottom[y] - other)
extern "C" __global__ void correlation_backward(
    int count, const float* bottom_data, const float* other_data, const float* top_diff, int side, int channels,
    int height, int width, int top_height, int top_width, float* bottom_diff) {
  FOR_EACH(b, count) {
    const unsigned row = unsigned(b) / unsigned(width), plane = row / unsigned(height);
    const int x = b - row * width, y = row - plane * height;
    const int n = plane / unsigned(channels);
    const float own = subtract ? bottom_data[b] : 0;
    float sum = 0;
    for (int p = 0; p < grid_height; ++p) {
      const int step_y = shift_y + p * stride_2, other_y = y + side * step_y;
      const Range rows = positions_of((side > 0 ? y : other_y) - begin_y, top_height);
      for (int o = 0; rows.first <= rows.last && o < grid_width; ++o) {
        const int step_x = shift_x + o * stride_2, other_x = x + side * step_x;
        const Range columns = positions_of((side > 0 ? x : other_x) - begin_x, top_width);
        const bool in_other = is_inside(other_y, other_x, height, width);
        if (!subtract && !in_other) continue;
        const float other = in_other ? other_data[b + side * (step_y * width + step_x)] : 0;
        const int map = (n * grid_height + p) * grid_width + o;
        const float* const of_d = top_diff + map * top_height * top_width;
        float diff = 0;
        for (int i = rows.first; i <= rows.last; ++i) {
          for (int j = columns.first; j <= columns.last; ++j) diff += of_d[i * top_width + j];
        }
        sum += diff * (subtract ? float(own > other) - float(own < other) : other);
      }
    }
    bottom_diff[b] = sum / (channels * kernel_size * kernel_size);
  }
}
