// MVN, beside BatchNorm's kernels.     NumPy: caffepy/layers/normalization/mvn.py
//
// Layout     a value per row, `count` of them.
// Launch     1-D, any grid (grid-stride). Deterministic.
// Constants  eps
// Source     BVLC Caffe, mvn_layer.cpp.
#include "common.cuh"

// spread = (sqrt(variance) + eps)^2
extern "C" __global__ void mvn_spread(int count, const float* variance, float* spread) {
  FOR_EACH(i, count) {
    const float deviation = sqrtf(variance[i]) + eps;
    spread[i] = deviation * deviation;
  }
}
