// What becomes of a convolution's sums where BatchNorm by global statistics, Scale and ReLU follow in place.
//
// NumPy      caffepy/layers/vision/convolution_normalized.py
// Constants  eps, of BatchNorm, and that of rectified.cuh
#pragma once
#include "change.cuh"
#include "rectified.cuh"

// Mean and variance are made from the statistics' sums, and left for backward. A bias, a scale, a shift and a place for
// what the scale is applied to may be missing.
struct Normalized {
  const float *bias, *mean_sum, *variance_sum, *weight_sum;
  float *mean, *variance;
  const float *scale, *shift;
  float* kept;

  // top[at + v] = what becomes of sums[v], `vector` neighbours of one output; `first` where they are its first.
  template <int vector>
  __device__ __forceinline__ void write(float* top, int output, int at, bool first, const float* sums) const {
    const float factor = weight_sum[0] == 0 ? 0 : 1 / weight_sum[0];
    const float of_mean = mean_sum[output] * factor, of_variance = variance_sum[output] * factor;
    if (first) mean[output] = of_mean, variance[output] = of_variance;
    const float added = bias != nullptr ? bias[output] : 0, inverse = 1 / sqrtf(of_variance + eps);
    const float by = scale != nullptr ? scale[output] : 1, more = shift != nullptr ? shift[output] : 0;
    const auto normal = [=](float, float sum) { return (sum + added - of_mean) * inverse; };
    if (kept != nullptr) change<vector>(kept + at, sums, normal);
    change<vector>(top + at, sums, [=](float, float sum) { return rectified(normal(0, sum) * by + more); });
  }
};
