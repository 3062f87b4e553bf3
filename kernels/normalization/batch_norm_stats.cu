// BatchNorm: statistics of each channel.     NumPy: caffepy/layers/normalization/batch_norm.py
//
// Layout     (num, channels, inner); statistics (channels). `count` channels.
// Launch     a block of whole warps per channel; batch_norm_global_stats: any grid (grid-stride). Deterministic.
// Source     Ioffe & Szegedy 2015; BVLC Caffe, batch_norm_layer.cpp.
#include "channels.cuh"
#include "common.cuh"

// variance = (sqrt(variance) + eps)^2
extern "C" __global__ void batch_norm_widen(int count, float eps, float* variance) {
  FOR_EACH(i, count) {
    const float deviation = sqrtf(variance[i]) + eps;
    variance[i] = deviation * deviation;
  }
}

// mean = mean_sum / weight_sum, variance = variance_sum / weight_sum; zeros where nothing was gathered
extern "C" __global__ void batch_norm_global_stats(
    int count, const float* mean_sum, const float* variance_sum, const float* weight_sum, float* mean,
    float* variance) {
  const float factor = weight_sum[0] == 0 ? 0 : 1 / weight_sum[0];
  FOR_EACH(c, count) {
    mean[c] = mean_sum[c] * factor;
    variance[c] = variance_sum[c] * factor;
  }
}

// mean[c] = mean over n, i of bottom[n, c, i]; variance[c] = mean over n, i of (bottom[n, c, i] - mean[c])^2
extern "C" __global__ void batch_norm_batch_stats(
    int count, const float* bottom_data, int num, int channels, int inner, float* mean, float* variance) {
  const int c = blockIdx.x;
  const float values = num * inner;
  const float centre = channel_sum(c, num, channels, inner, [=](int at) { return bottom_data[at]; }) / values;
  const float squares = channel_sum(c, num, channels, inner, [=](int at) {
    const float centred = bottom_data[at] - centre;
    return centred * centred;
  });
  if (threadIdx.x == 0) {
    mean[c] = centre;
    variance[c] = squares / values;
  }
}

// mean_diff[c] = mean over n, i of top_diff; mean_product[c] = mean over n, i of top_diff * normalized
extern "C" __global__ void batch_norm_diff_stats(
    int count, const float* top_diff, const float* normalized, int num, int channels, int inner, float* mean_diff,
    float* mean_product) {
  const int c = blockIdx.x;
  const float values = num * inner;
  const float sum = channel_sum(c, num, channels, inner, [=](int at) { return top_diff[at]; });
  const float product = channel_sum(c, num, channels, inner, [=](int at) { return top_diff[at] * normalized[at]; });
  if (threadIdx.x == 0) {
    mean_diff[c] = sum / values;
    mean_product[c] = product / values;
  }
}
