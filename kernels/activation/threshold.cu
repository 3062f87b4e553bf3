// Threshold.     NumPy: caffepy/layers/activation/functions.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  threshold
// Source     BVLC Caffe, threshold_layer.cpp.
#include "fours.cuh"

// top = 1 if bottom > threshold else 0
extern "C" __global__ void threshold_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return float(x > threshold); });
}
