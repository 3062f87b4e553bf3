// SoftmaxWithLoss, after the softmax.     NumPy: caffepy/layers/loss/softmax_loss.py
//
// Layout     prob (outer, channels, inner), labels (outer, inner), class_weight (channels), or null for 1 each.
// Launch     forward: a block of whole warps per part, `count` of them; backward: 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  those of labels.cuh
// Source     Caffe's softmax_loss_layer.cpp. A label that is no class counts as ignored here; label_check tells of it.
#include "common.cuh"
#include "labels.cuh"
#include "parts.cuh"

__device__ __forceinline__ float weight_of(int label, const float* class_weight) {
  return class_weight ? class_weight[label] : 1;
}

// parts = partial sums over o, i of -class_weight[label] * log(max(prob[o, label, i], FLT_TINY)), label = label[o, i],
// 0 where it does not count
extern "C" __global__ void softmax_loss_forward(
    int count, const float* prob, const float* label_data, const float* class_weight, int outer, int channels,
    int inner, float* parts) {
  add_up(count, outer * inner, parts, [=](int at) {
    const int label = counted_class(label_data[at], channels);
    if (label < 0) return 0.f;
    const int o = unsigned(at) / unsigned(inner), i = at - o * inner;
    const float p = prob[(o * channels + label) * inner + i];
    return -weight_of(label, class_weight) * logf(p < FLT_TINY ? FLT_TINY : p);  // not fmaxf, which would hide a NaN
  });
}

// bottom_diff[o, c, i] = (prob[o, c, i] - (c == label)) * class_weight[label] * top_diff / normalizer, likewise
extern "C" __global__ void softmax_loss_backward(
    int count, const float* prob, const float* label_data, const float* class_weight, int outer, int channels,
    int inner, const float* normalizer, const float* top_diff, float* bottom_diff) {
  const float factor = top_diff[0] / normalizer[0];
  FOR_EACH(at, count) {
    const int row = unsigned(at) / unsigned(inner), i = at - row * inner;
    const int o = unsigned(row) / unsigned(channels), c = row - o * channels;
    const int label = counted_class(label_data[o * inner + i], channels);
    if (label < 0) {
      bottom_diff[at] = 0;
    } else {
      const float weight = factor * weight_of(label, class_weight);
      bottom_diff[at] = prob[at] * weight - (c == label ? weight : 0);
    }
  }
}
