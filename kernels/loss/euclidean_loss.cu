// EuclideanLoss.     NumPy: caffepy/layers/loss/euclidean_loss.py
//
// Layout     equally large arrays.
// Launch     forward: a block of whole warps per part, `count` of them; backward: 1-D over `count` elements, any grid
//            (grid-stride), four at a time where the arrays are aligned. Deterministic.
// Source     BVLC Caffe, euclidean_loss_layer.cpp.
#include "fours.cuh"
#include "parts.cuh"

// parts = partial sums over i < values of (first[i] - second[i])^2
extern "C" __global__ void euclidean_loss_forward(
    int count, const float* first_data, const float* second_data, int values, float* parts) {
  add_up(count, values, parts, [=](int i) {
    const float difference = first_data[i] - second_data[i];
    return difference * difference;
  });
}

// bottom_diff = (bottom - other) * top_diff / num
extern "C" __global__ void euclidean_loss_backward(
    int count, const float* bottom_data, const float* other_data, const float* top_diff, int num, float* bottom_diff) {
  const float factor = top_diff[0] / num;
  map(count, bottom_data, other_data, bottom_diff, [=](float x, float other) { return (x - other) * factor; });
}
