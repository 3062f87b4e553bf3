// Clip.     NumPy: caffepy/layers/activation/functions.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  lowest, highest
// Source     BVLC Caffe, clip_layer.cpp. A NaN stays one.
#include "fours.cuh"

// top = min(max(bottom, lowest), highest)
extern "C" __global__ void clip_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return x < lowest ? lowest : x > highest ? highest : x; });
}

// bottom_diff = top_diff where lowest <= bottom <= highest, else 0
extern "C" __global__ void clip_backward(
    int count, const float* bottom_data, const float* top_diff, float* bottom_diff) {
  map(count, bottom_data, top_diff, bottom_diff, [](float x, float dy) {
    return dy * float(x >= lowest && x <= highest);
  });
}
