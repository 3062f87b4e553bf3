// MultinomialLogisticLoss.     NumPy: caffepy/layers/loss/multinomial_logistic_loss.py
//
// Layout     bottom (num, channels), labels (num).
// Launch     forward: a block of whole warps per part, `count` of them; backward: 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  those of labels.cuh
// Source     BVLC Caffe, multinomial_logistic_loss_layer.cpp.
#include "common.cuh"
#include "labels.cuh"
#include "parts.cuh"

// parts = partial sums over n of -log(max(bottom[n, label[n]], 1e-20))
extern "C" __global__ void multinomial_logistic_loss_forward(
    int count, const float* bottom_data, const float* label_data, int num, int channels, float* parts) {
  add_up(count, num, parts, [=](int n) {
    const int label = counted_class(label_data[n], channels);
    return label < 0 ? 0.f : -logf(at_least_threshold(bottom_data[n * channels + label]));
  });
}

// bottom_diff[n, label[n]] = -top_diff / (num * max(bottom[n, label[n]], 1e-20)), 0 elsewhere
extern "C" __global__ void multinomial_logistic_loss_backward(
    int count, const float* bottom_data, const float* label_data, int num, int channels, const float* top_diff,
    float* bottom_diff) {
  const float factor = -top_diff[0] / num;
  FOR_EACH(at, count) {
    const int n = unsigned(at) / unsigned(channels);
    const bool chosen = at - n * channels == counted_class(label_data[n], channels);
    bottom_diff[at] = chosen ? factor / at_least_threshold(bottom_data[at]) : 0;
  }
}
