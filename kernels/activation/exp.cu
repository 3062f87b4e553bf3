// Exp.     NumPy: caffepy/layers/activation/functions.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  rate, factor
// Source     BVLC Caffe, exp_layer.cpp.
#include "fours.cuh"

// top = factor * exp(rate * bottom)
extern "C" __global__ void exp_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return factor * expf(rate * x); });
}

// bottom_diff = top_diff * top * rate
extern "C" __global__ void exp_backward(
    int count, const float* top_data, const float* top_diff, float* bottom_diff) {
  map(count, top_data, top_diff, bottom_diff, [](float y, float dy) { return dy * (y * rate); });
}
