// Swish.     NumPy: caffepy/layers/activation/activations.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  beta
// Source     Ramachandran et al. 2017.
#include "fours.cuh"

// The logistic function of beta * x, without overflow.
__device__ __forceinline__ float gate_of(float x) { return 0.5f * tanhf(0.5f * (beta * x)) + 0.5f; }

// top = bottom * sigmoid(beta * bottom)
extern "C" __global__ void swish_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return x * gate_of(x); });
}

// bottom_diff = top_diff * g * (1 + beta * bottom * (1 - g)), g = sigmoid(beta * bottom)
extern "C" __global__ void swish_backward(
    int count, const float* bottom_data, const float* top_diff, float* bottom_diff) {
  map(count, bottom_data, top_diff, bottom_diff, [](float x, float dy) {
    const float gate = gate_of(x);
    return dy * (gate * (1 + beta * ((1 - gate) * x)));
  });
}
