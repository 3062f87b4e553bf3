// Power.     NumPy: caffepy/layers/activation/power.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  power, scale, shift
// Source     BVLC Caffe, power_layer.cpp.
#include "fours.cuh"

// (shift + scale * x) ^ exponent; 1 where the exponent is 0.
__device__ __forceinline__ float raised(float x, float exponent) {
  const float base = scale * x + shift;
  return exponent == 1 ? base : exponent == 2 ? base * base : powf(base, exponent);
}

// top = (shift + scale * bottom) ^ power
extern "C" __global__ void power_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return raised(x, power); });
}

// bottom_diff = top_diff * power * scale * (shift + scale * bottom) ^ (power - 1)
extern "C" __global__ void power_backward(
    int count, const float* bottom_data, const float* top_diff, float* bottom_diff) {
  map(count, bottom_data, top_diff, bottom_diff, [](float x, float dy) {
    constexpr bool is_linear = power == 0 || power == 1 || scale == 0;
    return dy * (is_linear ? power * scale : power * scale * raised(x, power - 1));
  });
}
