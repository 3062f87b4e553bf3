// What losses over labels share.     NumPy: caffepy/layers/loss/loss.py
//
// Layout     labels are floats, of which the whole part counts.
// Launch     one block of whole warps. Deterministic.
// Constants  those of labels.cuh
// Source     BVLC Caffe, loss_layer.hpp and softmax_loss_layer.cpp.
#include "common.cuh"
#include "labels.cuh"
#include "reduce.cuh"

// normalizer[0] = what the sum of losses over (outer, inner) labels is divided by: 1 at least, or as PRE_FIXED
extern "C" __global__ void loss_normalizer(
    int count, const float* label_data, int outer, int inner, float* normalizer) {
  int divisor = normalization == BATCH_SIZE ? outer : normalization == NONE ? 1 : outer * inner;
  if (normalization == VALID && has_ignore_label) {
    int ignored = 0;
    for (int i = threadIdx.x; i < outer * inner; i += blockDim.x) ignored += is_ignored(label_data[i]);
    divisor -= block_sum(ignored);
  }
  if (threadIdx.x == 0) normalizer[0] = normalization == PRE_FIXED ? pre_fixed_normalizer : max(divisor, 1);
}
