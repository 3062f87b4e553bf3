// Rows taken by number.     NumPy: caffepy/layers/basis/rows.py
//
// Layout     bottom (rows, inner), top (places, inner); places are floats, of which the whole part counts.
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic: a row's diffs are added
//            in the order of the places.
// Source     BVLC Caffe, batch_reindex_layer.cpp.
#include "common.cuh"

// top[r] = bottom[place[r]] for `places` r, or zeros where place[r] is none of the `rows` rows
extern "C" __global__ void gather_forward(
    int count, const float* bottom_data, const float* place_data, int rows, int places, float* top_data) {
  const unsigned inner = count / places;
  FOR_EACH(at, count) {
    const float place = place_data[unsigned(at) / inner];
    top_data[at] = place > -1 && place < rows ? bottom_data[int(place) * inner + unsigned(at) % inner] : 0;
  }
}

// bottom_diff[b] = sum of the top_diff[r] whose place[r] is b
extern "C" __global__ void gather_backward(
    int count, const float* top_diff, const float* place_data, int rows, int places, float* bottom_diff) {
  const unsigned inner = count / rows;
  FOR_EACH(at, count) {
    const int row = unsigned(at) / inner;
    float sum = 0;
    for (int r = 0; r < places; ++r) {
      const float place = place_data[r];
      if (place > -1 && int(place) == row) sum += top_diff[r * inner + unsigned(at) % inner];
    }
    bottom_diff[at] = sum;
  }
}
