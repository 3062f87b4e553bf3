// Images of another size: nearest and bilinear.     NumPy: caffepy/layers/vision/resize.py
//
// Layout     (planes, height, width, inner) and (planes, top_height, top_width, inner).
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic: backward gathers.
// Source     DeepLab's and PSPNet's interp_layer.cpp; TensorFlow's resize_bilinear and resize_nearest_neighbor.
#include "common.cuh"

struct Place {
  int plane, y, x, c;
};

__device__ __forceinline__ Place place_of(int i, int height, int width, int inner) {
  const unsigned pixel = unsigned(i) / unsigned(inner), row = pixel / unsigned(width), plane = row / unsigned(height);
  return {int(plane), int(row - plane * height), int(pixel - row * width), int(i - pixel * inner)};
}

__device__ __forceinline__ int index_of(Place p, int height, int width, int inner) {
  return ((p.plane * height + p.y) * width + p.x) * inner + p.c;
}

// top[p, i, j, c] = bottom[p, shown_y[i], shown_x[j], c]
extern "C" __global__ void nearest_forward(
    int count, const float* bottom_data, int height, int width, int inner, int top_height, int top_width,
    const int* shown_y, const int* shown_x, float* top_data) {
  FOR_EACH(i, count) {
    const Place p = place_of(i, top_height, top_width, inner);
    top_data[i] = bottom_data[index_of({p.plane, shown_y[p.y], shown_x[p.x], p.c}, height, width, inner)];
  }
}

// bottom_diff[p, y, x, c] = sum of top_diff[p, i, j, c], first_y[y] <= i < first_y[y + 1], and j so by x
extern "C" __global__ void nearest_backward(
    int count, const float* top_diff, int height, int width, int inner, int top_height, int top_width,
    const int* first_y, const int* first_x, float* bottom_diff) {
  FOR_EACH(i, count) {
    const Place p = place_of(i, height, width, inner);
    float sum = 0;
    for (int y = first_y[p.y]; y < first_y[p.y + 1]; ++y) {
      for (int x = first_x[p.x]; x < first_x[p.x + 1]; ++x) {
        sum += top_diff[index_of({p.plane, y, x, p.c}, top_height, top_width, inner)];
      }
    }
    bottom_diff[i] = sum;
  }
}

// Where a place of the top stands between the bottom's places.
struct Between {
  int before, after;
  float weight;  // of the latter
};

__device__ __forceinline__ Between between(int i, int extent, float scale, float shift) {
  const float at = min(max(i * scale + shift, 0.0f), extent - 1.0f);
  const int before = int(at);
  return {before, min(before + 1, extent - 1), at - before};
}

__device__ __forceinline__ float weight_of(int place, Between b) {
  return (b.before == place ? 1 - b.weight : 0) + (b.after == place ? b.weight : 0);
}

// top[p, i, j, c] = bottom[p, i * scale_y + shift_y, j * scale_x + shift_x, c], linear between places
extern "C" __global__ void bilinear_forward(
    int count, const float* bottom_data, int height, int width, int inner, int top_height, int top_width,
    float scale_y, float shift_y, float scale_x, float shift_x, float* top_data) {
  FOR_EACH(i, count) {
    const Place p = place_of(i, top_height, top_width, inner);
    const Between y = between(p.y, height, scale_y, shift_y), x = between(p.x, width, scale_x, shift_x);
    const auto value = [=](int row, int column) {
      return bottom_data[index_of({p.plane, row, column, p.c}, height, width, inner)];
    };
    const float left = value(y.before, x.before) + y.weight * (value(y.after, x.before) - value(y.before, x.before));
    const float right = value(y.before, x.after) + y.weight * (value(y.after, x.after) - value(y.before, x.after));
    top_data[i] = left + x.weight * (right - left);
  }
}

// The places of the top that may stand next to a place of the bottom: from first to last.
struct Range {
  int first, last;
};

__device__ __forceinline__ Range near(int place, int extent, int resized, float scale, float shift) {
  Range range = {0, resized - 1};
  if (scale > 0) {
    if (place > 0) range.first = max(range.first, int(floorf((place - 1 - shift) / scale)) - 1);
    if (place < extent - 1) range.last = min(range.last, int(ceilf((place + 1 - shift) / scale)) + 1);
  }
  return range;
}

// bottom_diff[p, y, x, c] = sum over i, j of top_diff[p, i, j, c] * the weight bottom[p, y, x, c] has in it
extern "C" __global__ void bilinear_backward(
    int count, const float* top_diff, int height, int width, int inner, int top_height, int top_width, float scale_y,
    float shift_y, float scale_x, float shift_x, float* bottom_diff) {
  FOR_EACH(i, count) {
    const Place p = place_of(i, height, width, inner);
    const Range rows = near(p.y, height, top_height, scale_y, shift_y);
    const Range columns = near(p.x, width, top_width, scale_x, shift_x);
    float sum = 0;
    for (int y = rows.first; y <= rows.last; ++y) {
      const float of_row = weight_of(p.y, between(y, height, scale_y, shift_y));
      if (of_row == 0) continue;
      for (int x = columns.first; x <= columns.last; ++x) {
        const float weight = of_row * weight_of(p.x, between(x, width, scale_x, shift_x));
        if (weight != 0) sum += weight * top_diff[index_of({p.plane, y, x, p.c}, top_height, top_width, inner)];
      }
    }
    bottom_diff[i] = sum;
  }
}
