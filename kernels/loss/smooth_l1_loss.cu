// SmoothL1Loss.     NumPy: caffepy/layers/loss/smooth_l1_loss.py
//
// Layout     equally large arrays; the weights inside and outside may be null for 1.
// Launch     forward: a block of whole warps per part, `count` of them; backward: 1-D over `count` elements, any grid
//            (grid-stride). Deterministic.
// Constants  sigma
// Source     Girshick 2015, with sigma as in Faster R-CNN's Caffe, smooth_L1_loss_layer.cu.
#include "common.cuh"
#include "parts.cuh"

constexpr float SQUARED = sigma * sigma;

__device__ __forceinline__ float weight(const float* weights, int i) { return weights ? weights[i] : 1; }

// parts = partial sums over i < values of outside[i] * f(inside[i] * (first[i] - second[i]));
// f(x) = sigma^2 x^2 / 2 where |x| < 1 / sigma^2, else |x| - 1 / (2 sigma^2)
extern "C" __global__ void smooth_l1_loss_forward(
    int count, const float* first_data, const float* second_data, const float* inside_data, const float* outside_data,
    int values, float* parts) {
  add_up(count, values, parts, [=](int i) {
    const float x = weight(inside_data, i) * (first_data[i] - second_data[i]), size = fabsf(x);
    const float loss = size < 1 / SQUARED ? x * x * (SQUARED / 2) : size - 0.5f / SQUARED;
    return weight(outside_data, i) * loss;
  });
}

// bottom_diff = outside * inside * f'(inside * (bottom - other)) * top_diff / num; f'(x) = sigma^2 x within -1 and 1
extern "C" __global__ void smooth_l1_loss_backward(
    int count, const float* bottom_data, const float* other_data, const float* inside_data, const float* outside_data,
    const float* top_diff, int num, float* bottom_diff) {
  const float factor = top_diff[0] / num;
  FOR_EACH(i, count) {
    const float inside = weight(inside_data, i), steep = SQUARED * inside * (bottom_data[i] - other_data[i]);
    const float slope = steep > 1 ? 1 : steep < -1 ? -1 : steep;
    bottom_diff[i] = slope * inside * weight(outside_data, i) * factor;
  }
}
