// CenterLoss, backward to the centres.     NumPy: caffepy/layers/loss/center_loss.py
//
// Layout     bottom (num, values), labels (num), centres (classes, values).
// Launch     1-D over `count` elements of the centres, any grid (grid-stride). Deterministic: items in their order.
// Source     Wen et al. 2016, caffe-face, center_loss_layer.cpp.
#include "common.cuh"
#include "indices.cuh"

// center_diff[k] += (sum over the n of class k of center[k] - bottom[n]) / (1 + their number)
extern "C" __global__ void center_loss_backward_weights(
    int count, const float* bottom_data, const float* label_data, const float* center_data, int num, int values,
    float* center_diff) {
  const int classes = count / values;
  FOR_EACH(at, count) {
    const int k = unsigned(at) / unsigned(values), i = at - k * values;
    float sum = 0;
    int members = 0;
    for (int n = 0; n < num; ++n) {
      if (!is_class(label_data[n], classes) || int(label_data[n]) != k) continue;
      sum += center_data[at] - bottom_data[n * values + i];
      ++members;
    }
    center_diff[at] += sum / (1 + members);
  }
}
