// Mul and Add, the derivative by a bottom that was stretched.     NumPy: caffepy/layers/utility/broadcast.py
//
// Layout     `layout` has 18 ints: the top's 6 extents, 6 strides in this bottom, 6 in the other; 0 is stretched.
// Launch     a block of whole warps per element of the bottom, `count` of them. Deterministic.
#include "reduce.cuh"

// bottom_diff = the sum of top_diff, times the other bottom, over the axes whose stride layout[6 + k] is 0
extern "C" __global__ void broadcast_backward(
    int count, const float* top_diff, const float* other_data, const int* layout, float* bottom_diff) {
  int kept = blockIdx.x, values = 1;
  for (int axis = 0; axis < 6; ++axis) {
    if (layout[6 + axis] == 0) values *= layout[axis];
  }
  int start = 0, other_start = 0;
  for (int axis = 5, step = 1; axis >= 0; --axis) {
    const int extent = layout[axis];
    if (layout[6 + axis] != 0) {
      start += kept % extent * step;
      other_start += kept % extent * layout[12 + axis];
      kept /= extent;
    }
    step *= extent;
  }
  float sum = 0;
  for (int i = threadIdx.x; i < values; i += blockDim.x) {
    int rest = i, at = start, other = other_start;
    for (int axis = 5, step = 1; axis >= 0; --axis) {
      const int extent = layout[axis];
      if (layout[6 + axis] == 0) {
        at += rest % extent * step;
        other += rest % extent * layout[12 + axis];
        rest /= extent;
      }
      step *= extent;
    }
    sum += other_data ? top_diff[at] * other_data[other] : top_diff[at];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) bottom_diff[blockIdx.x] = sum;
}
