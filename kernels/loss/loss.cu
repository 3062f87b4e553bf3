// What losses over labels share.     NumPy: caffepy/layers/loss.py
//
// Layout     labels are floats, of which the whole part counts.
// Launch     one block of whole warps. Deterministic.
// Constants  those of labels.cuh
// Source     BVLC Caffe, loss_layer.hpp and softmax_loss_layer.cpp.
#include "common.cuh"
#include "labels.cuh"
#include "reduce.cuh"

// bad_label[0] = index of the first of `count` labels, bad_value[0], outside the classes and not ignored, or -1
extern "C" __global__ void label_check(
    int count, const float* label_data, int classes, int* bad_label, float* bad_value) {
  int first = count;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const float label = label_data[i];
    if (!is_class(label, classes) && !is_ignored(label)) first = min(first, i);
  }
  first = block_min(first);
  if (threadIdx.x == 0) {
    bad_label[0] = first < count ? first : -1;
    bad_value[0] = count ? label_data[min(first, count - 1)] : 0;
  }
}

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
