// ReLU.     NumPy: caffepy/layers/activation/relu.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  negative_slope
// Source     Nair & Hinton 2010; negative_slope: BVLC Caffe, relu_layer.cpp. A NaN stays one.
#include "fours.cuh"
#include "rectified.cuh"

// top = max(bottom, 0) + negative_slope * min(bottom, 0)
extern "C" __global__ void relu_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return rectified(x); });
}

// bottom_diff = top_diff * (1 if bottom > 0 else negative_slope)
extern "C" __global__ void relu_backward(
    int count, const float* bottom_data, const float* top_diff, float* bottom_diff) {
  map(count, bottom_data, top_diff, bottom_diff, [](float x, float dy) { return dy * (x > 0 ? 1 : negative_slope); });
}
