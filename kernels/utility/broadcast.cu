// Mul and Add with stretched axes.     NumPy: caffepy/layers/utility/broadcast.py
//
// Layout     `layout` has 18 ints: the top's 6 extents, 6 strides in the first bottom, 6 in the second; 0 is stretched.
// Launch     1-D over `count` elements of the top, any grid (grid-stride). Deterministic.
// Constants  multiply
#include "common.cuh"

// top[i] = first[sum of i_k * layout[6 + k]] * second[sum of i_k * layout[12 + k]], or their sum
extern "C" __global__ void broadcast_forward(
    int count, const float* first_data, const float* second_data, const int* layout, float* top_data) {
  FOR_EACH(i, count) {
    unsigned rest = i;
    int first = 0, second = 0;
#pragma unroll
    for (int axis = 5; axis >= 0; --axis) {
      const unsigned extent = layout[axis];
      if (extent == 1) continue;
      const unsigned above = rest / extent;
      const int place = int(rest - above * extent);
      first += place * layout[6 + axis];
      second += place * layout[12 + axis];
      rest = above;
    }
    top_data[i] = multiply ? first_data[first] * second_data[second] : first_data[first] + second_data[second];
  }
}
