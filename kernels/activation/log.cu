// Log.     NumPy: caffepy/layers/activation/functions.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  factor, scale, shift
// Source     BVLC Caffe, log_layer.cpp.
#include "fours.cuh"

// top = factor * log(shift + scale * bottom)
extern "C" __global__ void log_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return factor * logf(scale * x + shift); });
}

// bottom_diff = top_diff * factor * scale / (shift + scale * bottom)
extern "C" __global__ void log_backward(
    int count, const float* bottom_data, const float* top_diff, float* bottom_diff) {
  map(count, bottom_data, top_diff, bottom_diff, [](float x, float dy) {
    return dy * (factor * scale / (scale * x + shift));
  });
}
