// ROIWarping: the greatest sample of each bin of a region.     NumPy: caffepy/layers/detection/roi_warping.py
//
// Layout     features (items, channels, height, width), regions (regions, 5), tops (regions, channels, pooled_h,
//            pooled_w), place of each top's sample (row, column), -1 where there is none.
// Launch     1-D over `count` elements of what is written, any grid (grid-stride); to the regions: a block of whole warps
//            per number, `count` of them. Deterministic: backward gathers.
// Source     Dai et al. 2016 (MNC), roi_warping_layer.cu.
#include "reduce.cuh"
#include "roi.cuh"

// A region along one axis.
struct Edge {
  float begin, end;
};

__device__ __forceinline__ Edge edge(float first, float last, float scale) {
  return {roundf(first * scale), roundf(last * scale)};
}

// Regions that reach further from the first feature have no samples, and those that are no numbers.
__device__ __forceinline__ bool within_reach(const float* region, float scale) {
  bool all = true;
  for (int k = 1; k < 5; ++k) all = all && fabsf(region[k] * scale) <= 65536.0f;
  return all;
}

// The places before and behind a sample, and how far it is from the one before.
struct Between {
  int before, behind;
  float part;
};

__device__ __forceinline__ Between between(float place, int extent) {
  const float inside = min(max(place, 0.0f), float(extent - 1));
  const int before = int(inside);
  return {before, min(before + 1, extent - 1), inside - before};
}

__device__ __forceinline__ bool seen(float place, int extent) { return place >= -0.5f && place <= extent - 0.5f; }

// From sample to sample, in bins; a bin without extent has one sample.
__device__ __forceinline__ float step_of(float size) { return size > 0 ? 1 / ceilf(size) : 2; }

// top[r, c, i, j] = the greatest sample of bin (i, j) of region r, place its row and column; 0 and -1 if none
extern "C" __global__ void roi_warp_forward(
    int count, const float* bottom_data, const float* region_data, int items, int channels, int height, int width,
    int pooled_h, int pooled_w, float scale, float* place, float* top_data) {
  FOR_EACH(t, count) {
    const unsigned row = unsigned(t) / unsigned(pooled_w), plane = row / unsigned(pooled_h);
    const int j = t - row * pooled_w, i = row - plane * pooled_h;
    const int r = plane / unsigned(channels), c = plane - r * channels;
    const float* region = region_data + 5 * r;
    const int item = item_of(region, items);
    float best = 0, best_y = -1, best_x = -1;
    if (item >= 0 && within_reach(region, scale)) {
      const Edge rows = edge(region[2], region[4], scale), columns = edge(region[1], region[3], scale);
      const float high = max(rows.end - rows.begin, 0.0f) / pooled_h, wide = max(columns.end - columns.begin, 0.0f) / pooled_w;
      const float step_y = step_of(high), step_x = step_of(wide);
      const float* image = bottom_data + (item * channels + c) * (height * width);
      for (float at_y = i; at_y <= i + 1; at_y += step_y) {
        const float y = rows.begin + at_y * high;
        if (!seen(y, height)) continue;
        const Between v = between(y, height);
        const float *upper = image + v.before * width, *lower = image + v.behind * width;
        for (float at_x = j; at_x <= j + 1; at_x += step_x) {
          const float x = columns.begin + at_x * wide;
          if (!seen(x, width)) continue;
          const Between h = between(x, width);
          float value = (1 - v.part) * (1 - h.part) * upper[h.before] + (1 - v.part) * h.part * upper[h.behind];
          value += v.part * (1 - h.part) * lower[h.before];
          value += v.part * h.part * lower[h.behind];
          if (best_y < 0 || value > best) {
            best = value;
            best_y = v.before + v.part;
            best_x = h.before + h.part;
          }
        }
      }
    }
    top_data[t] = best;
    place[2 * t] = best_y;
    place[2 * t + 1] = best_x;
  }
}

// The part that a place has in a sample.
__device__ __forceinline__ float part_of(int place, float sample, int extent) {
  const Between b = between(sample, extent);
  return (place == b.before ? 1 - b.part : 0) + (place == b.behind ? b.part : 0);
}

// The bins that may have a sample within one of a place: from the first up to the last.
__device__ __forceinline__ Bin bins_near(Edge edge, int place, int bins) {
  const float size = max(edge.end - edge.begin, 0.0f) / bins;
  if (size == 0) return {0, bins};
  const float first = floorf((place - 1 - edge.begin) / size) - 1, last = ceilf((place + 1 - edge.begin) / size) + 1;
  return {int(min(max(first, 0.0f), float(bins))), int(min(max(last, 0.0f), float(bins)))};
}

// bottom_diff[n, c, h, w] = sum over the bins of item n's regions of top_diff * the part of (h, w) in the sample
extern "C" __global__ void roi_warp_backward(
    int count, const float* top_diff, const float* region_data, const float* place, int items, int channels, int height,
    int width, int pooled_h, int pooled_w, int regions, float scale, float* bottom_diff) {
  FOR_EACH(b, count) {
    const unsigned row = unsigned(b) / unsigned(width), plane = row / unsigned(height);
    const int w = b - row * width, h = row - plane * height;
    const int n = plane / unsigned(channels), c = plane - n * channels;
    float sum = 0;
    for (int r = 0; r < regions; ++r) {
      const float* region = region_data + 5 * r;
      if (item_of(region, items) != n) continue;
      const Bin rows = bins_near(edge(region[2], region[4], scale), h, pooled_h);
      const Bin columns = bins_near(edge(region[1], region[3], scale), w, pooled_w);
      for (int i = rows.first; i < rows.last; ++i) {
        for (int j = columns.first; j < columns.last; ++j) {
          const int t = ((r * channels + c) * pooled_h + i) * pooled_w + j;
          const float y = place[2 * t], x = place[2 * t + 1];
          if (y < 0 || fabsf(y - h) >= 1 || fabsf(x - w) >= 1) continue;
          sum += part_of(h, y, height) * part_of(w, x, width) * top_diff[t];
        }
      }
    }
    bottom_diff[b] = sum;
  }
}

// region_diff[r] = 0, and the sums over channels and bins of top_diff * the slope along x, along y, that along x times
// x's place in the region from -1/2 to 1/2, and that along y likewise; none at the last row or column
extern "C" __global__ void roi_warp_backward_regions(
    int count, const float* bottom_data, const float* top_diff, const float* region_data, const float* place, int items,
    int channels, int height, int width, int pooled_h, int pooled_w, float scale, float* region_diff) {
  const int r = blockIdx.x / 5, number = blockIdx.x % 5, bins = pooled_h * pooled_w;
  const float* region = region_data + 5 * r;
  const int item = item_of(region, items);
  const Edge rows = edge(region[2], region[4], scale), columns = edge(region[1], region[3], scale);
  float sum = 0;
  for (int at = threadIdx.x; at < channels * bins && item >= 0 && number > 0; at += blockDim.x) {
    const int t = r * channels * bins + at;
    const float y = place[2 * t], x = place[2 * t + 1];
    if (y < 0 || y >= height - 1 || x >= width - 1) continue;
    const Between v = between(y, height), h = between(x, width);
    const float* image = bottom_data + (item * channels + unsigned(at) / unsigned(bins)) * (height * width);
    const float *upper = image + v.before * width, *lower = image + v.behind * width;
    const float a = upper[h.before], b = upper[h.behind], d = lower[h.before], e = lower[h.behind];
    const bool is_x = number == 1 || number == 3;
    float slope = is_x ? (1 - v.part) * (b - a) + v.part * (e - d) : (1 - h.part) * (d - a) + h.part * (e - b);
    if (number == 3) slope *= (x - columns.begin) / max(columns.end - columns.begin + 1, 1.0f) - 0.5f;
    if (number == 4) slope *= (y - rows.begin) / max(rows.end - rows.begin + 1, 1.0f) - 0.5f;
    sum += slope * top_diff[t];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) region_diff[blockIdx.x] = sum;
}
