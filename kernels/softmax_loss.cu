// SoftmaxWithLoss, after the softmax.     NumPy: caffepy/layers/softmax_loss.py
//
// Layout     prob (outer, channels, inner), labels (outer, inner).
// Launch     forward: one block of whole warps; backward: 1-D, any grid (grid-stride). Deterministic.
// Constants  has_ignore_label, ignore_label, normalization
// Source     Caffe's softmax_loss_layer.cpp. A label that is no class counts as ignored here; label_check tells of it.
#include "common.cuh"
#include "labels.cuh"
#include "reduce.cuh"

// top = -sum over o, i of log(max(prob[o, label[o, i], i], FLT_TINY)) / normalizer over the labels that count
extern "C" __global__ void softmax_loss_forward(
    int count, const float* prob, const float* label_data, int outer, int channels, int inner, const float* normalizer,
    float* top_data) {
  float sum = 0;
  for (int at = threadIdx.x; at < outer * inner; at += blockDim.x) {
    const int label = counted_class(label_data[at], channels);
    if (label < 0) continue;
    const int o = unsigned(at) / unsigned(inner), i = at - o * inner;
    const float p = prob[(o * channels + label) * inner + i];
    sum -= logf(p < FLT_TINY ? FLT_TINY : p);  // not fmaxf, which would hide a NaN
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) top_data[0] = sum / normalizer[0];
}

// bottom_diff[o, c, i] = (prob[o, c, i] - (c == label[o, i])) * top_diff / normalizer, 0 where not counted
extern "C" __global__ void softmax_loss_backward(
    int count, const float* prob, const float* label_data, int outer, int channels, int inner, const float* normalizer,
    const float* top_diff, float* bottom_diff) {
  const float weight = top_diff[0] / normalizer[0];
  FOR_EACH(at, count) {
    const int row = unsigned(at) / unsigned(inner), i = at - row * inner;
    const int o = unsigned(row) / unsigned(channels), c = row - o * channels;
    const int label = counted_class(label_data[o * inner + i], channels);
    bottom_diff[at] = label < 0 ? 0 : prob[at] * weight - (c == label ? weight : 0);
  }
}
