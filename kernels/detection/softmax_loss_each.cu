// SoftmaxWithLossOHEM, after the softmax: what each label adds.     NumPy: caffepy/layers/detection/ohem.py
//
// Layout     prob (outer, channels, inner), labels and losses (outer, inner).
// Launch     1-D over `count` losses, any grid (grid-stride). Deterministic.
// Constants  those of labels.cuh
// Source     Dai et al. 2016 (R-FCN), softmax_loss_ohem_layer.cu.
#include "common.cuh"
#include "labels.cuh"

// losses[o, i] = -log(max(prob[o, label, i], FLT_TINY)), label = label[o, i], 0 where it does not count
extern "C" __global__ void softmax_loss_each(
    int count, const float* prob, const float* label_data, int outer, int channels, int inner, float* losses) {
  FOR_EACH(at, count) {
    const int label = counted_class(label_data[at], channels), o = unsigned(at) / unsigned(inner), i = at - o * inner;
    const float p = label < 0 ? 1 : prob[(o * channels + label) * inner + i];
    losses[at] = -logf(p < FLT_TINY ? FLT_TINY : p);  // not fmaxf, which would hide a NaN
  }
}
