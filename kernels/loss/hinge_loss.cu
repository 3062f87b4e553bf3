// HingeLoss.     NumPy: caffepy/layers/loss/hinge_loss.py
//
// Layout     bottom (num, channels), labels (num).
// Launch     forward: a block of whole warps per part, `count` of them; backward: 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  squared; those of labels.cuh
// Source     BVLC Caffe, hinge_loss_layer.cpp.
#include "common.cuh"
#include "labels.cuh"
#include "parts.cuh"

// -1 for the label's class, else 1.
__device__ __forceinline__ float side_of(int at, const float* label_data, int channels) {
  const int n = unsigned(at) / unsigned(channels);
  return at - n * channels == counted_class(label_data[n], channels) ? -1 : 1;
}

// max(0, 1 + x); NaN if x is.
__device__ __forceinline__ float margin(float x) { return 1 + x < 0 ? 0 : 1 + x; }

// parts = partial sums over n, c of m, or with `squared` of m^2; m = max(0, 1 -+ bottom[n, c])
extern "C" __global__ void hinge_loss_forward(
    int count, const float* bottom_data, const float* label_data, int num, int channels, float* parts) {
  add_up(count, num * channels, parts, [=](int at) {
    const float m = margin(side_of(at, label_data, channels) * bottom_data[at]);
    return squared ? m * m : m;
  });
}

// bottom_diff[n, c] = -+ (2 m if squared else m > 0) * top_diff / num
extern "C" __global__ void hinge_loss_backward(
    int count, const float* bottom_data, const float* label_data, int num, int channels, const float* top_diff,
    float* bottom_diff) {
  const float factor = top_diff[0] / num;
  FOR_EACH(at, count) {
    const float side = side_of(at, label_data, channels), m = margin(side * bottom_data[at]);
    bottom_diff[at] = side * factor * (squared || m != m ? 2 * m : float(m > 0));
  }
}
