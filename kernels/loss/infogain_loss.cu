// InfogainLoss, after the softmax.     NumPy: caffepy/layers/loss/infogain_loss.py
//
// Layout     prob (outer, channels, inner), labels (outer, inner), infogain (channels, channels).
// Launch     forward: a block of whole warps per part, `count` of them; the others: 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  those of labels.cuh
// Source     BVLC Caffe, infogain_loss_layer.cpp.
#include "common.cuh"
#include "labels.cuh"
#include "parts.cuh"

// row_sums[l] = sum over c of infogain[l, c]
extern "C" __global__ void infogain_row_sums(int count, const float* infogain, int channels, float* row_sums) {
  FOR_EACH(label, count) {
    float sum = 0;
    for (int c = 0; c < channels; ++c) sum += infogain[label * channels + c];
    row_sums[label] = sum;
  }
}

// The label that element `at` of prob has, -1 where it does not count; and the element's channel.
__device__ __forceinline__ int label_of(int at, const float* label_data, int channels, int inner, int& c) {
  const int row = unsigned(at) / unsigned(inner), i = at - row * inner;
  const int o = unsigned(row) / unsigned(channels);
  c = row - o * channels;
  return counted_class(label_data[o * inner + i], channels);
}

// parts = partial sums over o, c, i of -infogain[label, c] * log(max(prob, 1e-20)) over the labels that count
extern "C" __global__ void infogain_loss_forward(
    int count, const float* prob, const float* label_data, const float* infogain, int outer, int channels, int inner,
    float* parts) {
  add_up(count, outer * channels * inner, parts, [=](int at) {
    int c;
    const int label = label_of(at, label_data, channels, inner, c);
    return label < 0 ? 0.f : -infogain[label * channels + c] * logf(at_least_threshold(prob[at]));
  });
}

// bottom_diff = (prob * row_sums[label] - infogain[label, c]) * top_diff / normalizer, 0 where the label does not count
extern "C" __global__ void infogain_loss_backward(
    int count, const float* prob, const float* label_data, const float* infogain, const float* row_sums, int outer,
    int channels, int inner, const float* normalizer, const float* top_diff, float* bottom_diff) {
  const float factor = top_diff[0] / normalizer[0];
  FOR_EACH(at, count) {
    int c;
    const int label = label_of(at, label_data, channels, inner, c);
    bottom_diff[at] = label < 0 ? 0 : (prob[at] * row_sums[label] - infogain[label * channels + c]) * factor;
  }
}
