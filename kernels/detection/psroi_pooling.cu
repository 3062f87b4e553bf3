// PSROIPooling: the mean of each bin of a region, from channels of its own.     NumPy: roi_pooling.py
//
// Layout     features (items, output_dim, group, group, height, width), regions (regions, 5), tops (regions, output_dim,
//            group, group).
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic: backward gathers.
// Source     Dai et al. 2016 (R-FCN), psroi_pooling_layer.cu.
#include "roi.cuh"

__device__ __forceinline__ Line line(float first, float last, float scale, int bins) {
  const float begin = roundf(first) * scale, end = (roundf(last) + 1) * scale;
  return {0, begin, max(end - begin, 0.1f) / bins};
}

// top[r, d, i, j] = the mean of channel (d * group + i) * group + j over bin (i, j) of region r; 0 if empty
extern "C" __global__ void psroi_pool_forward(
    int count, const float* bottom_data, const float* region_data, int items, int output_dim, int group, int height,
    int width, float scale, float* top_data) {
  FOR_EACH(t, count) {
    const unsigned row = unsigned(t) / unsigned(group), plane = row / unsigned(group);
    const int j = t - row * group, i = row - plane * group;
    const int r = plane / unsigned(output_dim), d = plane - r * output_dim;
    const float* region = region_data + 5 * r;
    const int item = item_of(region, items);
    float sum = 0;
    if (item >= 0) {
      const Bin rows = bin(line(region[2], region[4], scale, group), i, height);
      const Bin columns = bin(line(region[1], region[3], scale, group), j, width);
      const float* features = bottom_data + (((item * output_dim + d) * group + i) * group + j) * (height * width);
      for (int h = rows.first; h < rows.last; ++h) {
        for (int w = columns.first; w < columns.last; ++w) sum += features[h * width + w];
      }
      sum /= max((rows.last - rows.first) * (columns.last - columns.first), 1);
    }
    top_data[t] = sum;
  }
}

// bottom_diff = the sum of top_diff / area of every bin here, of this item and channel
extern "C" __global__ void psroi_pool_backward(
    int count, const float* top_diff, const float* region_data, int items, int output_dim, int group, int height,
    int width, int regions, float scale, float* bottom_diff) {
  FOR_EACH(b, count) {
    const unsigned row = unsigned(b) / unsigned(width), plane = row / unsigned(height);
    const int w = b - row * width, h = row - plane * height;
    const unsigned above = plane / unsigned(group), of_item = above / unsigned(group);
    const int j = plane - above * group, i = above - of_item * group;
    const int n = of_item / unsigned(output_dim), d = of_item - n * output_dim;
    float sum = 0;
    for (int r = 0; r < regions; ++r) {
      const float* region = region_data + 5 * r;
      if (item_of(region, items) != n) continue;
      const Bin rows = bin(line(region[2], region[4], scale, group), i, height);
      const Bin columns = bin(line(region[1], region[3], scale, group), j, width);
      if (h < rows.first || h >= rows.last || w < columns.first || w >= columns.last) continue;
      const int area = (rows.last - rows.first) * (columns.last - columns.first);
      sum += top_diff[((r * output_dim + d) * group + i) * group + j] / area;
    }
    bottom_diff[b] = sum;
  }
}
