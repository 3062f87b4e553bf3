// What becomes of a convolution's sums: bias and ReLU.
#pragma once
#include "change.cuh"
#include "rectified.cuh"

struct Plain {
  const float* bias;

  // What the sums of one output take.
  struct Output {
    float added;

    // top[at + v] = what becomes of sums[v], `vector` neighbours; `first` where they are the output's very first.
    template <int vector>
    __device__ __forceinline__ void write(float* top, int at, bool, const float* sums) const {
      change<vector>(top + at, sums, [=](float, float sum) { return rectified(sum + added); });
    }
  };

  __device__ __forceinline__ Output of(int output) const { return {bias != nullptr ? bias[output] : 0}; }
};
