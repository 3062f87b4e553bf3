// Recurrent layers: over the steps.     NumPy: caffepy/layers/recurrent/recurrent.py
//
// Layout     values (steps, count), total (count).
// Launch     1-D over `count` elements, any grid (grid-stride). Deterministic.
// Source     BVLC Caffe, recurrent_layer.cpp.
#include "common.cuh"

// total[i] = sum over t of values[t, i]
extern "C" __global__ void sum_over_steps(int count, const float* values, int steps, float* total) {
  FOR_EACH(i, count) {
    float sum = 0;
    for (int t = 0; t < steps; ++t) sum += values[t * count + i];
    total[i] = sum;
  }
}
