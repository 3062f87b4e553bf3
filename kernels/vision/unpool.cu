// Upsample and Unpooling: values put where a mask says.     NumPy: caffepy/layers/vision/upsample.py
//
// Layout     planes of `places` values and masks; planes of `size` places, each with the index of its value, or -1.
// Launch     1-D over `count` elements, any grid (grid-stride). Deterministic: of several claims the largest counts.
// Source     SegNet's upsample_layer.cpp.
#include "common.cuh"

// owner = -1
extern "C" __global__ void unpool_clear(int count, int* owner) {
  FOR_EACH(i, count) owner[i] = -1;
}

// The place that value i is for, or -1.
__device__ __forceinline__ int place_of(int i, const float* mask, int places, int size) {
  const float place = mask[i];
  return place > -1 && place < size ? i / places * size + int(place) : -1;
}

// owner[i // places, mask[i]] = the largest such i, in planes of `size` places; other masks count for none
extern "C" __global__ void unpool_claim(int count, const float* mask_data, int places, int size, int* owner) {
  FOR_EACH(i, count) {
    const int place = place_of(i, mask_data, places, size);
    if (place >= 0) atomicMax(&owner[place], i);
  }
}

// top[i] = bottom[owner[i]], 0 where owner[i] is -1
extern "C" __global__ void unpool_forward(int count, const float* bottom_data, const int* owner, float* top_data) {
  FOR_EACH(i, count) top_data[i] = owner[i] < 0 ? 0 : bottom_data[owner[i]];
}

// bottom_diff[owner[i]] = top_diff[i], 0 for others
extern "C" __global__ void unpool_backward(
    int count, const float* top_diff, const float* mask_data, int places, int size, const int* owner,
    float* bottom_diff) {
  FOR_EACH(i, count) {
    const int place = place_of(i, mask_data, places, size);
    bottom_diff[i] = place >= 0 && owner[place] == i ? top_diff[place] : 0;
  }
}
