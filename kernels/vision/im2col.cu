// Im2col.     NumPy: caffepy/layers/vision/im2col.py
//
// Layout     bottom planes of `extent` pixels, top planes (taps, positions). Which pixel a position sees through a tap,
//            and at which position a tap sees a pixel, are tables of the host's, the same for every plane.
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic: taps in their order.
// Source     BVLC Caffe, im2col.cpp.
#include "common.cuh"

// top[plane, t, p] = bottom[plane, pixels[t, p]], 0 where that is -1
extern "C" __global__ void im2col_forward(
    int count, const float* bottom_data, const int* pixels, int taps, int positions, int extent, float* top_data) {
  FOR_EACH(i, count) {
    const int plane = unsigned(i) / unsigned(taps * positions), pixel = pixels[i - plane * taps * positions];
    top_data[i] = pixel < 0 ? 0 : bottom_data[plane * extent + pixel];
  }
}

// bottom_diff[plane, i] = the sum over t of top_diff[plane, t, places[t, i]], of those that are not -1
extern "C" __global__ void im2col_backward(
    int count, const float* top_diff, const int* places, int taps, int positions, int extent, float* bottom_diff) {
  FOR_EACH(i, count) {
    const int plane = unsigned(i) / unsigned(extent), pixel = i - plane * extent;
    float sum = 0;
    for (int t = 0; t < taps; ++t) {
      const int place = places[t * extent + pixel];
      if (place >= 0) sum += top_diff[(plane * taps + t) * positions + place];
    }
    bottom_diff[i] = sum;
  }
}
