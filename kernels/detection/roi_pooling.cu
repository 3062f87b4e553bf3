// ROIPooling: the maximum of each bin of a region.     NumPy: caffepy/layers/detection/roi_pooling.py
//
// Layout     features (items, channels, height, width), regions (regions, 5), tops and masks (regions, channels,
//            pooled_h, pooled_w).
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic: backward gathers.
// Source     Girshick 2015 (Fast R-CNN), roi_pooling_layer.cu.
#include "roi.cuh"

// wrong[0] = the first region whose item is none of the `items`, item[0] that item; -1 if there is none
extern "C" __global__ void roi_check(
    int count, const float* region_data, int regions, int items, int* wrong, float* item) {
  FOR_EACH(i, count) {
    int region = 0;
    while (region < regions && item_of(region_data + 5 * region, items) >= 0) ++region;
    wrong[i] = region < regions ? region : -1;
    item[i] = region < regions ? region_data[5 * region] : 0;
  }
}

// padded = region_data, but each side out by ratio * (x2 - x1 + 1), or of y
extern "C" __global__ void roi_pad(int count, const float* region_data, float ratio, float* padded) {
  FOR_EACH(i, count) {
    const int side = i % 5, axis = (side + 1) % 2;
    const float* region = region_data + (i - side);
    const float out = ratio * (region[3 + axis] - region[1 + axis] + 1);
    padded[i] = side == 0 ? region[0] : side < 3 ? region[side] - out : region[side] + out;
  }
}

__device__ __forceinline__ Line line(float first, float last, float scale, int bins) {
  const float begin = roundf(first * scale), end = roundf(last * scale);
  return {begin, 0, max(end - begin + 1, 1.0f) / bins};
}

// top[r, c, i, j] = the maximum of bin (i, j) of region r, mask its place h * width + w; 0 and -1 if empty
extern "C" __global__ void roi_pool_forward(
    int count, const float* bottom_data, const float* region_data, int items, int channels, int height, int width,
    int pooled_h, int pooled_w, float scale, int* mask, float* top_data) {
  FOR_EACH(t, count) {
    const unsigned row = unsigned(t) / unsigned(pooled_w), plane = row / unsigned(pooled_h);
    const int j = t - row * pooled_w, i = row - plane * pooled_h;
    const int r = plane / unsigned(channels), c = plane - r * channels;
    const float* region = region_data + 5 * r;
    const int item = item_of(region, items);
    float best = 0;
    int place = -1;
    if (item >= 0) {
      const Bin rows = bin(line(region[2], region[4], scale, pooled_h), i, height);
      const Bin columns = bin(line(region[1], region[3], scale, pooled_w), j, width);
      const float* features = bottom_data + (item * channels + c) * (height * width);
      for (int h = rows.first; h < rows.last; ++h) {
        for (int w = columns.first; w < columns.last; ++w) {
          const float value = features[h * width + w];
          if (place < 0 || value > best) {
            best = value;
            place = h * width + w;
          }
        }
      }
    }
    top_data[t] = best;
    mask[t] = place;
  }
}

// bottom_diff[n, c, h, w] = sum of the top_diff of the bins of item n's regions whose mask is h * width + w
extern "C" __global__ void roi_pool_backward(
    int count, const float* top_diff, const float* region_data, const int* mask, int items, int channels, int height,
    int width, int pooled_h, int pooled_w, int regions, float scale, float* bottom_diff) {
  FOR_EACH(b, count) {
    const unsigned row = unsigned(b) / unsigned(width), plane = row / unsigned(height);
    const int w = b - row * width, h = row - plane * height;
    const int n = plane / unsigned(channels), c = plane - n * channels;
    float sum = 0;
    for (int r = 0; r < regions; ++r) {
      const float* region = region_data + 5 * r;
      if (item_of(region, items) != n) continue;
      const Bin rows = bins_around(line(region[2], region[4], scale, pooled_h), h, pooled_h);
      const Bin columns = bins_around(line(region[1], region[3], scale, pooled_w), w, pooled_w);
      for (int i = rows.first; i < rows.last; ++i) {
        for (int j = columns.first; j < columns.last; ++j) {
          const int t = ((r * channels + c) * pooled_h + i) * pooled_w + j;
          if (mask[t] == h * width + w) sum += top_diff[t];
        }
      }
    }
    bottom_diff[b] = sum;
  }
}
