// Eltwise SUM, the derivative.     NumPy: caffepy/layers/utility/eltwise.py
//
// Layout     equally large arrays of `count` floats.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  coeff
// Source     BVLC Caffe, eltwise_layer.cpp.
#include "fours.cuh"

// bottom_diff = coeff * top_diff
extern "C" __global__ void eltwise_sum_backward(int count, const float* top_diff, float* bottom_diff) {
  map(count, top_diff, bottom_diff, [](float dy) { return coeff * dy; });
}
