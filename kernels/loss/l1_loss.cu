// L1Loss.     NumPy: caffepy/layers/loss/l1_loss.py
//
// Layout     (num, channels, inner); second_data may be null for zeros; squared (num, inner).
// Launch     entries, forward, lengths_forward: a block of whole warps per part, `count` of them; the others: 1-D over
//            `count` elements, any grid (grid-stride). Deterministic.
// Constants  plateau, epsilon
// Source     FlowNet's Caffe, l1loss_layer.cu; at 0 NVCaffe's, l1_loss_layer.cpp.
#include "common.cuh"
#include "parts.cuh"

__device__ __forceinline__ float difference(const float* first, const float* second, int i) {
  return second ? first[i] - second[i] : first[i];
}

// Whether a difference is neither below the plateau nor NaN.
__device__ __forceinline__ bool counts(float d) { return fabsf(d) >= (plateau > 0 ? plateau : 0); }

// parts = partial sums over i < values of 1 where first[i] - second[i] is not NaN
extern "C" __global__ void l1_loss_entries(
    int count, const float* first_data, const float* second_data, int values, float* parts) {
  add_up(count, values, parts, [=](int i) {
    const float d = difference(first_data, second_data, i);
    return float(d == d);
  });
}

// parts = partial sums over i < values of |first[i] - second[i]| where that counts
extern "C" __global__ void l1_loss_forward(
    int count, const float* first_data, const float* second_data, int values, float* parts) {
  add_up(count, values, parts, [=](int i) {
    const float d = difference(first_data, second_data, i);
    return counts(d) ? fabsf(d) : 0.f;
  });
}

// bottom_diff = factor * (the sign of d) * top_diff / normalizer, 0 where d does not count
extern "C" __global__ void l1_loss_backward(
    int count, const float* first_data, const float* second_data, const float* normalizer, const float* top_diff,
    float factor, float* bottom_diff) {
  const float slope = factor * top_diff[0] / normalizer[0];
  FOR_EACH(i, count) {
    const float d = difference(first_data, second_data, i);
    bottom_diff[i] = !counts(d) || d == 0 ? 0 : d > 0 ? slope : -slope;
  }
}

// squared[n, i] = weight * sum over c of d[n, c, i]^2, NaN counting as 0; 0 below plateau^2
extern "C" __global__ void l1_loss_squares(
    int count, const float* first_data, const float* second_data, int channels, int inner, float weight,
    float* squared) {
  FOR_EACH(at, count) {
    const int n = unsigned(at) / unsigned(inner), start = n * channels * inner + at - n * inner;
    float sum = 0;
    for (int c = 0; c < channels; ++c) {
      const float d = difference(first_data, second_data, start + c * inner);
      if (d == d) sum += d * d;
    }
    sum *= weight;
    squared[at] = sum < plateau * plateau ? 0 : sum;
  }
}

// parts = partial sums over i < values of sqrt(squared[i] + epsilon)
extern "C" __global__ void l1_loss_lengths_forward(int count, const float* squared, int values, float* parts) {
  add_up(count, values, parts, [=](int i) { return sqrtf(squared[i] + epsilon); });
}

// bottom_diff[n, c, i] = factor * d / sqrt(squared[n, i] + epsilon) * top_diff / normalizer, 0 where squared is 0 or d
// NaN
extern "C" __global__ void l1_loss_lengths_backward(
    int count, const float* first_data, const float* second_data, const float* squared, int channels, int inner,
    const float* normalizer, const float* top_diff, float factor, float* bottom_diff) {
  const float slope = factor * top_diff[0] / normalizer[0];
  FOR_EACH(at, count) {
    const int row = unsigned(at) / unsigned(inner), i = at - row * inner, n = unsigned(row) / unsigned(channels);
    const float d = difference(first_data, second_data, at), length = squared[n * inner + i];
    bottom_diff[at] = d == d && length > 0 ? d * (slope / sqrtf(length + epsilon)) : 0;
  }
}
