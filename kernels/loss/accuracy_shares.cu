// Accuracy: the share of hits.     NumPy: caffepy/layers/loss/accuracy.py
//
// Layout     hits and labels, `labels` of them.
// Launch     a block of whole warps per share of them (accuracy_parts), for all shares (accuracy_forward), per class
//            (accuracy_per_class); `count` blocks. Deterministic: whole numbers are counted.
// Source     BVLC Caffe, accuracy_layer.cpp.
#include "parts.cuh"

// workspace[0, s] = how many hits of the s-th of `shares` shares are 1; workspace[1, s]: how many are not -1
extern "C" __global__ void accuracy_parts(int count, const int* hits, int labels, float* workspace, int shares) {
  const float found = share_sum(blockIdx.x, shares, labels, [=](int i) { return hits[i] > 0; });
  const float all = share_sum(blockIdx.x, shares, labels, [=](int i) { return hits[i] >= 0; });
  if (threadIdx.x == 0) {
    workspace[blockIdx.x] = found;
    workspace[shares + blockIdx.x] = all;
  }
}

// top = hits that are 1 / hits that are not -1; 0 where there are none
extern "C" __global__ void accuracy_forward(int count, const float* workspace, float* top_data, int shares) {
  const float found = parts_sum(workspace, 0, shares), all = parts_sum(workspace, 1, shares);
  if (threadIdx.x == 0) top_data[0] = found / max(all, 1.0f);
}

// top[c] = the same over the labels that are c
extern "C" __global__ void accuracy_per_class(
    int count, const int* hits, const float* label_data, int labels, float* top_data) {
  const auto of_class = [=](int i) { return int(label_data[i]) == int(blockIdx.x); };
  const float found = share_sum(0, 1, labels, [=](int i) { return hits[i] > 0 && of_class(i); });
  const float all = share_sum(0, 1, labels, [=](int i) { return hits[i] >= 0 && of_class(i); });
  if (threadIdx.x == 0) top_data[blockIdx.x] = found / max(all, 1.0f);
}
