// SigmoidCrossEntropyLoss.     NumPy: caffepy/layers/loss/sigmoid_cross_entropy_loss.py
//
// Layout     equally large arrays.
// Launch     forward: a block of whole warps per part, `count` of them; backward: 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  those of labels.cuh
// Source     BVLC Caffe, sigmoid_cross_entropy_loss_layer.cpp.
#include "common.cuh"
#include "labels.cuh"
#include "parts.cuh"

// parts = partial sums over i < values of log(1 + exp(-|x|)) - x * (t - (x >= 0)) over the targets t that count
extern "C" __global__ void sigmoid_cross_entropy_loss_forward(
    int count, const float* bottom_data, const float* target_data, int values, float* parts) {
  add_up(count, values, parts, [=](int i) {
    const float x = bottom_data[i], t = target_data[i];
    return is_ignored(t) ? 0.f : log1pf(expf(-fabsf(x))) - x * (t - float(x >= 0));
  });
}

// bottom_diff = (sigmoid(bottom) - target) * top_diff / normalizer, 0 where the target does not count
extern "C" __global__ void sigmoid_cross_entropy_loss_backward(
    int count, const float* bottom_data, const float* target_data, const float* normalizer, const float* top_diff,
    float* bottom_diff) {
  const float factor = top_diff[0] / normalizer[0];
  FOR_EACH(i, count) {
    const float t = target_data[i];
    bottom_diff[i] = is_ignored(t) ? 0 : (0.5f * tanhf(0.5f * bottom_data[i]) + (0.5f - t)) * factor;
  }
}
