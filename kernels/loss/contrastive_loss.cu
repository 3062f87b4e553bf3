// ContrastiveLoss.     NumPy: caffepy/layers/loss/contrastive_loss.py
//
// Layout     bottoms (num, channels); labels, the other labels if any, squared distances (num).
// Launch     forward: a block of whole warps per part, `count` of them; backward: 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  margin, legacy_version
// Source     Hadsell, Chopra & LeCun 2006; BVLC Caffe, contrastive_loss_layer.cpp.
#include "common.cuh"
#include "parts.cuh"

__device__ __forceinline__ bool is_similar(int n, const float* label_data, const float* other_label_data) {
  return other_label_data ? truncf(label_data[n]) == truncf(other_label_data[n]) : truncf(label_data[n]) != 0;
}

// max(0, margin - d), or of d^2; NaN if it is.
__device__ __forceinline__ float missing(float squared) {
  const float apart = margin - (legacy_version ? squared : sqrtf(squared));
  return apart < 0 ? 0 : apart;
}

// parts = partial sums over n of squared[n] if similar, else max(0, margin - sqrt(squared[n]))^2, or as legacy_version
extern "C" __global__ void contrastive_loss_forward(
    int count, const float* squared, const float* label_data, const float* other_label_data, int num, float* parts) {
  add_up(count, num, parts, [=](int n) {
    const float apart = missing(squared[n]);
    return is_similar(n, label_data, other_label_data) ? squared[n] : legacy_version ? apart : apart * apart;
  });
}

// bottom_diff[n, c] = s * (bottom[n, c] - other[n, c]) * top_diff / num; s = 1 for similar pairs, else
// -max(0, margin - d) / (d + 1e-4), or as legacy_version
extern "C" __global__ void contrastive_loss_backward(
    int count, const float* bottom_data, const float* other_data, const float* label_data,
    const float* other_label_data, const float* squared, int num, int channels, const float* top_diff, float* bottom_diff) {
  const float factor = top_diff[0] / num;
  FOR_EACH(at, count) {
    const int n = unsigned(at) / unsigned(channels);
    float slope = 1;
    if (!is_similar(n, label_data, other_label_data)) {
      const float apart = missing(squared[n]);
      slope = legacy_version ? -float(apart > 0) : -apart / (sqrtf(squared[n]) + 1e-4f);
    }
    bottom_diff[at] = (bottom_data[at] - other_data[at]) * (slope * factor);
  }
}
