// Values moved: Permute, ShuffleChannel, Reorg, Flip, DepthToSpace, crops.     NumPy: rearrange.py
//
// Layout     `layout` has 13 ints: where the first value is, 6 extents of the target, 6 strides in the source.
// Launch     1-D over `count` elements of the target, any grid (grid-stride). Deterministic.
#include "common.cuh"

// top[i] = bottom[layout[0] + sum over k of i_k * layout[7 + k]], i counted in an array of layout[1 + k] values
extern "C" __global__ void rearrange_forward(
    int count, const float* bottom_data, const int* layout, float* top_data) {
  FOR_EACH(i, count) {
    unsigned rest = i;
    int at = layout[0];
#pragma unroll
    for (int axis = 6; axis > 0; --axis) {
      const unsigned extent = layout[axis];
      if (extent == 1) continue;
      const unsigned above = rest / extent;
      at += int(rest - above * extent) * layout[6 + axis];
      rest = above;
    }
    top_data[i] = bottom_data[at];
  }
}
