// What rules are made of that run backward in place of derivatives.     NumPy: caffepy/rules/operations.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Source     Bach et al. 2015 (LRP); Montavon et al. 2019 (gamma); Shrikumar, Greenside & Kundaje 2017 (DeepLIFT).
#include "fours.cuh"

// max(x, 0) or min(x, 0); a NaN stays one
__device__ __forceinline__ float of_sign(float x, float sign) {
  return (sign > 0 ? x < 0 : x > 0) ? 0 : x;
}

// part = max(values, 0) if sign > 0 else min(values, 0)
extern "C" __global__ void part_of(int count, const float* values, float sign, float* part) {
  map(count, values, part, [=](float x) { return of_sign(x, sign); });
}

// quotient = relevance / (output + epsilon * sign(output)), sign(0) = 1; 0 where that divides by 0
extern "C" __global__ void relevance_quotient(
    int count, const float* relevance, const float* output, float epsilon, float* quotient) {
  map(count, relevance, output, quotient, [=](float r, float z) {
    const float steady = z + (z >= 0 ? epsilon : -epsilon);
    return steady == 0 ? 0 : r / steady;
  });
}

// relevance = (relevance if accumulate else 0) + factor * values * diff; missing values are 1
extern "C" __global__ void relevance_product(
    int count, const float* values, const float* diff, float factor, int accumulate, float* relevance) {
  FOR_EACH(i, count) {
    const float product = diff[i] * factor * (values ? values[i] : 1);
    relevance[i] = accumulate ? relevance[i] + product : product;
  }
}

// result = values + gamma * (their part of that sign)
extern "C" __global__ void favored(int count, const float* values, float gamma, float sign, float* result) {
  map(count, values, result, [=](float x) { return x + gamma * of_sign(x, sign); });
}

// bottom_diff = top_diff * (top - its reference) / (bottom - its reference); where bottom and reference are nearly
// equal, derivative. The first `half` elements are the images', the others their references'.
extern "C" __global__ void rescale_backward(
    int count, const float* bottom_data, const float* top_data, int half, const float* top_diff,
    const float* derivative, float* bottom_diff) {
  FOR_EACH(i, count) {
    const int image = i < half ? i : i - half;
    const float step = bottom_data[image] - bottom_data[image + half];
    const float slope = (top_data[image] - top_data[image + half]) / step;
    bottom_diff[i] = fabsf(step) >= 1e-7f ? top_diff[i] * slope : derivative[i];
  }
}
