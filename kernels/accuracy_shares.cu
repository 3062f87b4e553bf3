// Accuracy, over all labels.     NumPy: caffepy/layers/accuracy.py
//
// Layout     hits, labels: `labels` of them. `count` shares.
// Launch     a block of whole warps per share. Deterministic.
// Source     BVLC Caffe, accuracy_layer.cpp.
#include "reduce.cuh"

// top[blockIdx.x] = hits that are 1 / hits that are not -1, of those that `counts(i)`; 0 where there are none
template <class Counts>
__device__ __forceinline__ void share(const int* hits, int labels, float* top_data, Counts counts) {
  int found = 0, all = 0;
  for (int i = threadIdx.x; i < labels; i += blockDim.x) {
    if (hits[i] < 0 || !counts(i)) continue;
    found += hits[i];
    ++all;
  }
  found = block_sum(found);
  all = block_sum(all);
  if (threadIdx.x == 0) top_data[blockIdx.x] = float(found) / float(max(all, 1));
}

// top = hits that are 1 / hits that are not -1; 0 where there are none
extern "C" __global__ void accuracy_forward(int count, const int* hits, int labels, float* top_data) {
  share(hits, labels, top_data, [](int) { return true; });
}

// top[c] = the same over the labels that are c
extern "C" __global__ void accuracy_per_class(
    int count, const int* hits, const float* label_data, int labels, float* top_data) {
  share(hits, labels, top_data, [=](int i) { return int(label_data[i]) == int(blockIdx.x); });
}
