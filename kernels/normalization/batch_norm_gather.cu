// BatchNorm: what is kept of the statistics of the batches seen.     NumPy: caffepy/layers/normalization/batch_norm.py
//
// Layout     (channels), weight_sum (1). `count` channels.
// Launch     1-D, any grid (grid-stride). Deterministic.
// Constants  fraction
// Source     BVLC Caffe, batch_norm_layer.cpp.
#include "common.cuh"

// Each sum = fraction * sum + (mean, variance * values / (values - 1), 1), for means over `values` values
extern "C" __global__ void batch_norm_gather_stats(
    int count, const float* mean, const float* variance, int values, float* mean_sum, float* variance_sum,
    float* weight_sum) {
  const float unbiased = values > 1 ? float(values) / float(values - 1) : 1;
  FOR_EACH(c, count) {
    mean_sum[c] = fraction * mean_sum[c] + mean[c];
    variance_sum[c] = fraction * variance_sum[c] + variance[c] * unbiased;
    if (c == 0) weight_sum[0] = fraction * weight_sum[0] + 1;
  }
}
