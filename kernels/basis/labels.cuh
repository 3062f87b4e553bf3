// Labels as floats, of which the whole part counts.     NumPy: caffepy/layers/basis/labels.py, LabelRule
//
// Constants  has_ignore_label, ignore_label, normalization, pre_fixed_normalizer
#pragma once
#include "indices.cuh"

// The values of LossParameter.NormalizationMode.
enum { FULL = 0, VALID = 1, BATCH_SIZE = 2, NONE = 3, PRE_FIXED = 50000 };

__device__ __forceinline__ bool is_ignored(float label) {
  return has_ignore_label && truncf(label) == float(ignore_label);
}

// The class that the label names, -1 where it does not count: then nothing is read or written by it.
__device__ __forceinline__ int counted_class(float label, int classes) {
  return is_class(label, classes) && !is_ignored(label) ? int(label) : -1;
}

// What the logarithm is taken of; not by fmaxf, which would hide a NaN.
__device__ __forceinline__ float at_least_threshold(float p) { return p < 1e-20f ? 1e-20f : p; }
