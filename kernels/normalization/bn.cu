// BN: the stored statistics.     NumPy: caffepy/layers/normalization/bn.py
//
// Layout     statistics (channels).
// Launch     1-D over `count` channels, any grid (grid-stride). Deterministic.
// Source     PSPNet's bn_layer.cpp.
#include "common.cuh"

// Each stored statistic = momentum * itself + (1 - momentum) * the batch's
extern "C" __global__ void bn_gather(
    int count, const float* mean, const float* variance, float momentum, float* stored_mean, float* stored_variance) {
  FOR_EACH(i, count) {
    stored_mean[i] = momentum * stored_mean[i] + (1 - momentum) * mean[i];
    stored_variance[i] = momentum * stored_variance[i] + (1 - momentum) * variance[i];
  }
}
