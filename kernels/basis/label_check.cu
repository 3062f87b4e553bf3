// Whole numbers that come as floats, looked through.     NumPy: caffepy/layers/basis/labels.py
//
// Launch     one block of whole warps. Deterministic.
// Constants  those of labels.cuh
#include "common.cuh"
#include "labels.cuh"
#include "reduce.cuh"

// bad_label[0] = index of the first of `count` labels, bad_value[0], outside the classes and not ignored, or -1
extern "C" __global__ void label_check(
    int count, const float* label_data, int classes, int* bad_label, float* bad_value) {
  int first = count;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const float label = label_data[i];
    if (!is_class(label, classes) && !is_ignored(label)) first = min(first, i);
  }
  first = block_min(first);
  if (threadIdx.x == 0) {
    bad_label[0] = first < count ? first : -1;
    bad_value[0] = count ? label_data[min(first, count - 1)] : 0;
  }
}
