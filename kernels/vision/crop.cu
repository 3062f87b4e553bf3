// Crop.     NumPy: caffepy/layers/vision/crop.py
//
// Layout     bottom rows of bottom_width, top rows of width; which row of the one is part of which of the other was
//            settled on the host.
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic.
// Source     BVLC Caffe, crop_layer.cpp.
#include "common.cuh"

// top[r, i] = bottom[sources[r], offset + i]
extern "C" __global__ void crop_forward(
    int count, const float* bottom_data, const int* sources, int bottom_width, int width, int offset,
    float* top_data) {
  FOR_EACH(at, count) {
    const unsigned row = unsigned(at) / unsigned(width);
    top_data[at] = bottom_data[sources[row] * bottom_width + offset + at - int(row) * width];
  }
}

// bottom_diff[r, i] = top_diff[targets[r], i - offset], 0 where targets[r] is -1 or the top has no such i
extern "C" __global__ void crop_backward(
    int count, const float* top_diff, const int* targets, int bottom_width, int width, int offset,
    float* bottom_diff) {
  FOR_EACH(at, count) {
    const unsigned row = unsigned(at) / unsigned(bottom_width);
    const int target = targets[row], i = at - int(row) * bottom_width - offset;
    bottom_diff[at] = target >= 0 && i >= 0 && i < width ? top_diff[target * width + i] : 0;
  }
}
