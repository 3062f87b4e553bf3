// SPP.     NumPy: caffepy/layers/vision/spp.py
//
// Layout     bottom (n, channels, height, width), top (n, features): of level 0 channels features, of level 1 channels * 4,
//            ..., of `pyramid_height` levels.
// Launch     forward: a warp per element of the top, `count` of them; backward: 1-D over `count` elements of the bottom,
//            any grid (grid-stride). Deterministic: levels are added in their order.
// Constants  pool
// Source     He et al. 2014; BVLC Caffe, spp_layer.cpp and pooling_layer.cpp: an average's area counts the padding as far
//            as extent + pad; only what is above -FLT_MAX can be a maximum, and the first one row by row is.
#include "common.cuh"
#include "reduce.cuh"

// The values of SPPParameter.PoolMethod.
enum { MAX = 0, AVE = 1 };

// Windows of `kernel` pixels, side by side from -pad on, over an axis of `extent` pixels.
struct Axis {
  int extent, kernel, pad;
  __device__ Axis(int extent, int bins)
      : extent(extent), kernel((extent + bins - 1) / bins), pad((kernel * bins - extent + 1) / 2) {}
  __device__ int first(int i) const { return max(i * kernel - pad, 0); }
  __device__ int end(int i) const { return min((i + 1) * kernel - pad, extent); }
  __device__ int length(int i) const { return min((i + 1) * kernel, extent + 2 * pad) - i * kernel; }
  __device__ int seeing(int pixel) const { return (pixel + pad) / kernel; }
};

// top[n, level, c, ph, pw] = the mean of the window, or its greatest value, at place mask = h * width + w; -1 without one
extern "C" __global__ void __launch_bounds__(32) spp_forward(
    int count, const float* bottom_data, int channels, int height, int width, int pyramid_height, int* mask,
    float* top_data) {
  int features = 0, bins = 1;
  for (int level = 0; level < pyramid_height; ++level) features += channels << 2 * level;
  const int image = blockIdx.x / features;
  int feature = blockIdx.x - image * features;
  for (; feature >= channels * bins * bins; bins *= 2) feature -= channels * bins * bins;
  const int c = feature / (bins * bins), ph = feature / bins % bins, pw = feature % bins;
  const Axis rows(height, bins), columns(width, bins);
  const float* const plane = bottom_data + (image * channels + c) * height * width;

  const int wide = columns.end(pw) - columns.first(pw), pixels = (rows.end(ph) - rows.first(ph)) * wide;
  float sum = 0, greatest = FLT_LOWEST;
  int place = height * width;
  for (int i = threadIdx.x; i < pixels; i += 32) {
    const int at = (rows.first(ph) + i / wide) * width + columns.first(pw) + i % wide;
    const float value = plane[at];
    sum += value;
    if (value > greatest) {
      greatest = value;
      place = at;
    }
  }
  if (pool == AVE) {
    sum = warp_reduce(sum, [](float a, float b) { return a + b; });
    if (threadIdx.x == 0) top_data[blockIdx.x] = sum / float(rows.length(ph) * columns.length(pw));
    return;
  }
  const float best = warp_reduce(greatest, [](float a, float b) { return fmaxf(a, b); });
  place = warp_reduce(greatest == best ? place : height * width, [](int a, int b) { return min(a, b); });
  if (threadIdx.x == 0) {
    top_data[blockIdx.x] = place < height * width ? plane[place] : FLT_LOWEST;
    mask[blockIdx.x] = place < height * width ? place : -1;
  }
}

// bottom_diff = the sum over levels of top_diff / area of the window here, or of top_diff if its mask is this place
extern "C" __global__ void spp_backward(
    int count, const float* top_diff, const int* mask, int channels, int height, int width, int pyramid_height,
    float* bottom_diff) {
  int features = 0;
  for (int level = 0; level < pyramid_height; ++level) features += channels << 2 * level;
  FOR_EACH(i, count) {
    const int w = i % width, h = i / width % height, c = i / width / height % channels;
    int first = i / width / height / channels * features;
    float sum = 0;
    for (int bins = 1; bins < 1 << pyramid_height; bins *= 2) {
      const Axis rows(height, bins), columns(width, bins);
      const int ph = rows.seeing(h), pw = columns.seeing(w), at = first + (c * bins + ph) * bins + pw;
      if (pool == AVE) sum += top_diff[at] / float(rows.length(ph) * columns.length(pw));
      else if (mask[at] == h * width + w) sum += top_diff[at];
      first += channels * bins * bins;
    }
    bottom_diff[i] = sum;
  }
}
