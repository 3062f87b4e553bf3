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

  struct Output {
    float added, of_mean, of_variance, inverse, by, more;
    float *mean, *variance, *kept;

    template <int vector>
    __device__ __forceinline__ void write(float* top, int at, bool first, const float* sums) const {
      if (first) *mean = of_mean, *variance = of_variance;
      const auto normal = [=](float, float sum) { return (sum + added - of_mean) * inverse; };
      if (kept != nullptr) change<vector>(kept + at, sums, normal);
      change<vector>(top + at, sums, [=](float, float sum) { return rectified(normal(0, sum) * by + more); });
    }
  };

  __device__ __forceinline__ Output of(int output) const {
    const float factor = weight_sum[0] == 0 ? 0 : 1 / weight_sum[0];
    const float of_variance = variance_sum[output] * factor;
    return {bias != nullptr ? bias[output] : 0,
            mean_sum[output] * factor,
            of_variance,
            rsqrtf(of_variance + eps),
            scale != nullptr ? scale[output] : 1,
            shift != nullptr ? shift[output] : 0,
            mean + output,
            variance + output,
            kept};
  }
};
