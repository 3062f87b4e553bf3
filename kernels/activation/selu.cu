// SeLu.     NumPy: caffepy/layers/activation/selu.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride), four at a time where the arrays are aligned. Deterministic.
// Constants  scale, alpha
// Source     Klambauer et al. 2017. A NaN stays one.
#include "fours.cuh"

// top = scale * (bottom if bottom > 0 else alpha * (exp(bottom) - 1))
extern "C" __global__ void selu_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return x > 0 ? scale * x : scale * alpha * expm1f(x); });
}

// bottom_diff = top_diff * (scale if top > 0 else top + scale * alpha)
extern "C" __global__ void selu_backward(
    int count, const float* top_data, const float* top_diff, float* bottom_diff) {
  map(count, top_data, top_diff, bottom_diff,
      [](float y, float dy) { return dy * (y > 0 ? scale : y + scale * alpha); });
}
