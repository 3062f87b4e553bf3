// Tile.     NumPy: caffepy/layers/utility/tile.py
//
// Layout     bottom (outer, run), top (outer, tiles, run).
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic.
// Source     BVLC Caffe, tile_layer.cpp.
#include "common.cuh"

// top[o, t, i] = bottom[o, i]
extern "C" __global__ void tile_forward(int count, const float* bottom_data, int tiles, int run, float* top_data) {
  FOR_EACH(at, count) {
    const unsigned repeat = unsigned(at) / unsigned(run);
    top_data[at] = bottom_data[repeat / tiles * run + unsigned(at) % unsigned(run)];
  }
}

// bottom_diff[o, i] = sum over t of top_diff[o, t, i]
extern "C" __global__ void tile_backward(
    int count, const float* top_diff, int tiles, int run, float* bottom_diff) {
  FOR_EACH(at, count) {
    const unsigned o = unsigned(at) / unsigned(run);
    const float* const diff = top_diff + o * tiles * run + unsigned(at) % unsigned(run);
    float sum = 0;
    for (int t = 0; t < tiles; ++t) sum += diff[t * run];
    bottom_diff[at] = sum;
  }
}
