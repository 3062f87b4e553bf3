// Axpy: a scaled blob added to another.     NumPy: caffepy/layers/utility/axpy.py
//
// Layout     (planes, inner); scale (planes).
// Launch     1-D over `count` elements, any grid (grid-stride). Deterministic.
// Source     SENet's axpy_layer.cpp.
#include "common.cuh"

// top[k, i] = scale[k] * x[k, i] + y[k, i] for `inner` i
extern "C" __global__ void axpy_forward(
    int count, const float* scale_data, const float* x_data, const float* y_data, int inner, float* top_data) {
  FOR_EACH(i, count) top_data[i] = scale_data[unsigned(i) / unsigned(inner)] * x_data[i] + y_data[i];
}
