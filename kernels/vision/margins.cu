// Values put into a larger box: Pad, and crops backward.     NumPy: caffepy/layers/vision/margins.py
//
// Layout     `box` has 18 ints: the target's 6 extents, the source's 6 extents, and where each of them begins.
// Launch     1-D over `count` elements of the target, any grid (grid-stride). Deterministic.
#include "common.cuh"

// top of extents box[k] = bottom of extents box[6 + k] where it stands from box[12 + k] on, value elsewhere
extern "C" __global__ void embed_forward(
    int count, const float* bottom_data, const int* box, float value, float* top_data) {
  FOR_EACH(i, count) {
    unsigned rest = i;
    int at = 0, step = 1;
    bool inside = true;
#pragma unroll
    for (int axis = 5; axis >= 0; --axis) {
      const unsigned outer = box[axis], above = rest / outer;
      const int inner = box[6 + axis], place = int(rest - above * outer) - box[12 + axis];
      inside = inside && place >= 0 && place < inner;
      at += place * step;
      step *= inner;
      rest = above;
    }
    top_data[i] = inside ? bottom_data[at] : value;
  }
}
