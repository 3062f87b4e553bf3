// Concat and Slice: a part of the rows of a whole.     NumPy: caffepy/layers/utility/concat.py
//
// Layout     part (runs, size), whole (runs, run); the part stands in every run from `offset` on.
// Launch     1-D over the part's elements, any grid (grid-stride); four at a time where extents and arrays allow it.
//            Deterministic.
// Source     BVLC Caffe, concat_layer.cpp and slice_layer.cpp.
#include "fours.cuh"

// The place in the whole of element i of the part.
__device__ __forceinline__ int place(int i, int size, int offset, int run) {
  const int r = unsigned(i) / unsigned(size);
  return r * run + offset + i - r * size;
}

__device__ __forceinline__ bool in_fours(int size, int offset, int run, const float* part, const float* whole) {
  return (size | offset | run) % 4 == 0 && aligned(part, whole);
}

template <class T>
__device__ __forceinline__ void join(int count, const T* part, int size, int offset, int run, T* whole) {
  FOR_EACH(i, count) whole[place(i, size, offset, run)] = part[i];
}

template <class T>
__device__ __forceinline__ void cut(int count, const T* whole, int size, int offset, int run, T* part) {
  FOR_EACH(i, count) part[i] = whole[place(i, size, offset, run)];
}

// whole[r, offset + i] = part[r, i]
extern "C" __global__ void concat_forward(
    int count, const float* part, int runs, int size, int offset, int run, float* whole) {
  if (in_fours(size, offset, run, part, whole)) {
    join(count / 4, (const float4*)part, size / 4, offset / 4, run / 4, (float4*)whole);
  } else {
    join(count, part, size, offset, run, whole);
  }
}

// part[r, i] = whole[r, offset + i]
extern "C" __global__ void slice_forward(
    int count, const float* whole, int runs, int size, int offset, int run, float* part) {
  if (in_fours(size, offset, run, part, whole)) {
    cut(count / 4, (const float4*)whole, size / 4, offset / 4, run / 4, (float4*)part);
  } else {
    cut(count, whole, size, offset, run, part);
  }
}
