// Labels as floats, of which the whole part counts.     NumPy: caffepy/layers/loss.py, LabelRule
//
// Constants  has_ignore_label, ignore_label, normalization
#pragma once

// The values of LossParameter.NormalizationMode.
enum { FULL = 0, VALID = 1, BATCH_SIZE = 2, NONE = 3 };

__device__ __forceinline__ bool is_ignored(float label) {
  return has_ignore_label && truncf(label) == float(ignore_label);
}

__device__ __forceinline__ bool is_class(float label, int classes) { return label > -1 && label < classes; }

// The class that the label names, -1 where it does not count: then nothing is read or written by it.
__device__ __forceinline__ int counted_class(float label, int classes) {
  return is_class(label, classes) && !is_ignored(label) ? int(label) : -1;
}
