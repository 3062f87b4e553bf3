// Resample: every value along an axis from its neighbours.     NumPy: caffepy/layers/vision/resample.py
//
// Layout     bottom (outer, extent, inner), top (outer, resized, inner), starts (resized), weights (resized, taps).
// Launch     1-D over `count` elements of the top, any grid (grid-stride). Deterministic: taps in their order.
// Source     Ilg et al. 2017 (FlowNet 2.0), resample_layer.cu, whose filters are products of one for each axis.
#include "common.cuh"

// top[o, r, i] = sum over t < taps of weights[r, t] * bottom[o, starts[r] + t, i]
extern "C" __global__ void resample_axis(
    int count, const float* bottom_data, const int* starts, const float* weights, int extent, int resized, int taps,
    int inner, float* top_data) {
  FOR_EACH(k, count) {
    const unsigned row = unsigned(k) / unsigned(inner), o = row / unsigned(resized);
    const int i = k - row * inner, r = row - o * resized;
    const float* const column = bottom_data + (o * extent + starts[r]) * inner + i;
    float sum = 0;
    for (int t = 0; t < taps; ++t) sum += weights[r * taps + t] * column[t * inner];
    top_data[k] = sum;
  }
}
