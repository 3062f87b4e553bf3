// SegAccuracy.     NumPy: caffepy/layers/segmentation/seg_accuracy.py
//
// Layout     bottom (num, channels, inner), labels (num, inner); confusion (channels of the labels, best channels).
// Launch     seg_accuracy_forward: one block of whole warps; the others: 1-D over `count` places or elements, any grid
//            (grid-stride). Deterministic: whole numbers are counted.
// Source     DeepLab's seg_accuracy_layer.cpp and confusion_matrix.cpp.
#include "common.cuh"
#include "indices.cuh"
#include "reduce.cuh"

// confusion = 0 if reset; bad_label[0] = -1
extern "C" __global__ void seg_accuracy_clear(int count, int reset, int* confusion, int* bad_label) {
  FOR_EACH(i, count) {
    if (reset) confusion[i] = 0;
    if (i == 0) bad_label[0] = -1;
  }
}

// confusion[label, best class] += in how many places that is so; bad_label[0] = the first place whose label is neither
// a class nor ignored
extern "C" __global__ void seg_accuracy_count(
    int count, const float* bottom_data, const float* label_data, const int* ignored, int channels, int inner,
    int ignored_labels, int* confusion, int* bad_label) {
  FOR_EACH(i, count) {
    const float label = label_data[i];
    bool counts = true;
    for (int k = 0; k < ignored_labels; ++k) counts = counts && truncf(label) != float(ignored[k]);
    if (!counts) continue;
    if (!is_class(label, channels)) {
      atomicMin((unsigned*)bad_label, unsigned(i));  // of which -1 is the greatest
      continue;
    }
    const int n = unsigned(i) / unsigned(inner);
    const float* const column = bottom_data + n * channels * inner + (i - n * inner);
    int best = 0;
    float score = column[0];
    for (int c = 1; c < channels; ++c) {
      const float other = column[c * inner];
      if (!(other < score)) {
        best = c;
        score = other;
      }
    }
    atomicAdd(&confusion[int(label) * channels + best], 1);
  }
}

// top = the share of hits, its mean over the classes that occur, the mean of intersection over union; bad_value[0] =
// label[bad_label[0]]
extern "C" __global__ void seg_accuracy_forward(
    int channels, const int* confusion, const float* label_data, const int* bad_label, float* bad_value,
    float* top_data) {
  int hits = 0, pixels = 0, classes = 0;
  float recall = 0, overlap = 0;
  for (int c = threadIdx.x; c < channels; c += blockDim.x) {
    int occurs = 0, is_best = 0;
    for (int other = 0; other < channels; ++other) {
      occurs += confusion[c * channels + other];
      is_best += confusion[other * channels + c];
    }
    const int hit = confusion[c * channels + c], all = occurs + is_best - hit;
    hits += hit;
    pixels += occurs;
    classes += occurs > 0;
    recall += occurs ? float(hit) / float(occurs) : 0;
    overlap += hit == all ? 1 : float(hit) / float(all);
  }
  hits = block_sum(hits);
  pixels = block_sum(pixels);
  classes = block_sum(classes);
  recall = block_sum(recall);
  overlap = block_sum(overlap);
  if (threadIdx.x == 0) {
    top_data[0] = float(hits) / float(max(pixels, 1));
    top_data[1] = recall / float(max(classes, 1));
    top_data[2] = overlap / float(channels);
    bad_value[0] = bad_label[0] >= 0 ? label_data[bad_label[0]] : 0;
  }
}
