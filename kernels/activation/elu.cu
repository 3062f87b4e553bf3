// ELU.     NumPy: caffepy/layers/activation/activations.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); forward four at a time where the arrays are aligned.
//            Deterministic.
// Constants  alpha
// Source     Clevert et al. 2016. A NaN stays one.
#include "fours.cuh"

// top = bottom if bottom > 0 else alpha * (exp(bottom) - 1)
extern "C" __global__ void elu_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return x > 0 ? x : alpha * expm1f(x); });
}

// bottom_diff = top_diff * (1 if signs > 0 else top + alpha); signs are the bottom, or what has its signs
extern "C" __global__ void elu_backward(
    int count, const float* signs, const float* top_data, const float* top_diff, float* bottom_diff) {
  FOR_EACH(i, count) bottom_diff[i] = top_diff[i] * (signs[i] > 0 ? 1 : top_data[i] + alpha);
}
