// YoloSeg: the loss of a segmentation, each class a mask.     NumPy: caffepy/layers/segmentation/yolo_seg.py
//
// Layout     scores, labels (num, channels, inner); places (num, channels); scales (channels), if there are any.
// Launch     forward: a block of whole warps per part, `count` of them; else 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  none
// Source     MobileNet-YOLO, yolo_seg.cpp.
#include "channels.cuh"
#include "common.cuh"
#include "parts.cuh"

// s * (sigmoid(bottom[i]) - label[i]), s = scales[c] if there are any and the label is above 0.5, else object_scale
__device__ __forceinline__ float miss(
    int i, const float* bottom_data, const float* label_data, const float* scales, int channels, int inner,
    float object_scale) {
  const float label = label_data[i];
  const float scale = scales && label > 0.5f ? scales[channel_of(i, channels, inner)] : object_scale;
  return (0.5f * tanhf(0.5f * bottom_data[i]) + (0.5f - label)) * scale;
}

// scales[c] = object_scale * (2 - k / (num * inner - k)), k the sum over n of places[n, c]
extern "C" __global__ void yolo_seg_scales(
    int count, const float* places_data, int num, int channels, int inner, float object_scale, float* scales) {
  FOR_EACH(c, count) {
    float having = 0;
    for (int n = 0; n < num; ++n) having += places_data[n * channels + c];
    scales[c] = object_scale * (2 - having / (float(num * inner) - having));
  }
}

// parts = partial sums of miss^2
extern "C" __global__ void yolo_seg_forward(
    int count, const float* bottom_data, const float* label_data, const float* scales, int num, int channels, int inner,
    float object_scale, float* parts) {
  add_up(count, num * channels * inner, parts, [=](int i) {
    const float missed = miss(i, bottom_data, label_data, scales, channels, inner, object_scale);
    return missed * missed;
  });
}

// bottom_diff = miss * top_diff / num
extern "C" __global__ void yolo_seg_backward(
    int count, const float* bottom_data, const float* label_data, const float* scales, int num, int channels, int inner,
    float object_scale, const float* top_diff, float* bottom_diff) {
  const float factor = top_diff[0] / num;
  FOR_EACH(i, count) {
    bottom_diff[i] = miss(i, bottom_data, label_data, scales, channels, inner, object_scale) * factor;
  }
}
