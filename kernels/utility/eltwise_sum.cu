// Eltwise SUM, two blobs at a time.     NumPy: caffepy/layers/utility/eltwise.py
//
// Layout     equally large arrays of `count` floats; top may be first.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Constants  first_coeff, second_coeff, and that of rectified.cuh
// Source     BVLC Caffe, eltwise_layer.cpp.
#include "fours.cuh"
#include "rectified.cuh"

// top = rectified(first_coeff * first + second_coeff * second)
extern "C" __global__ void eltwise_sum_forward(
    int count, const float* first_data, const float* second_data, float* top_data) {
  map(count, first_data, second_data, top_data, [](float a, float b) {
    return rectified(first_coeff * a + second_coeff * b);
  });
}
