// What becomes of a convolution's sums: bias and ReLU.
#pragma once
#include "change.cuh"
#include "rectified.cuh"

struct Plain {
  const float* bias;

  // top[at + v] = what becomes of sums[v], `vector` neighbours of one output.
  template <int vector>
  __device__ __forceinline__ void write(float* top, int output, int at, bool, const float* sums) const {
    const float added = bias != nullptr ? bias[output] : 0;
    change<vector>(top + at, sums, [=](float, float sum) { return rectified(sum + added); });
  }
};
