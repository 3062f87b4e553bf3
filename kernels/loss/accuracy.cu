// Accuracy, label by label.     NumPy: caffepy/layers/loss/accuracy.py
//
// Layout     bottom (outer, channels, inner), labels and hits (outer, inner): `count` of them.
// Launch     a block of whole warps per label. Deterministic.
// Constants  has_ignore_label, ignore_label, normalization
// Source     BVLC Caffe, accuracy_layer.cpp: a class that scores as much as the label's counts as better.
#include "labels.cuh"
#include "reduce.cuh"

// hits[o, i] = 1 if bottom[o, c, i] >= bottom[o, label[o, i], i] for fewer than top_k other c, else 0; -1 where the label
// is ignored or no class
extern "C" __global__ void accuracy_hits(
    int count, const float* bottom_data, const float* label_data, int outer, int channels, int inner, int top_k,
    int* hits) {
  const int at = blockIdx.x, o = unsigned(at) / unsigned(inner), i = at - o * inner;
  const int label = counted_class(label_data[at], channels);
  int better = 0;
  if (label >= 0) {
    const float* const column = bottom_data + o * channels * inner + i;
    const float score = column[label * inner];
    for (int c = threadIdx.x; c < channels; c += blockDim.x) better += !(column[c * inner] < score);
  }
  better = block_sum(better);
  if (threadIdx.x == 0) hits[at] = label < 0 ? -1 : better <= top_k;
}
