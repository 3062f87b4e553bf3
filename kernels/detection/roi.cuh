// Regions of interest: where their bins are.     NumPy: caffepy/layers/detection/roi_pooling.py
#pragma once
#include "common.cuh"

// The item a region is of, or -1 for one that is not there.
__device__ __forceinline__ int item_of(const float* region, int items) {
  return region[0] > -1 && region[0] < items ? int(region[0]) : -1;
}

// A region's bins along one axis: bin i from floor(i * size + begin) to ceil((i + 1) * size + begin), and `whole`.
struct Line {
  float whole, begin, size;
};

// From the first up to the last, inside the features.
struct Bin {
  int first, last;
};

__device__ __forceinline__ Bin bin(Line line, int i, int extent) {
  const float first = floorf(i * line.size + line.begin) + line.whole;
  const float last = ceilf((i + 1) * line.size + line.begin) + line.whole;
  return {int(min(max(first, 0.0f), float(extent))), int(min(max(last, 0.0f), float(extent)))};
}

// The bins that may hold a place: from the first up to the last.
__device__ __forceinline__ Bin bins_around(Line line, int place, int bins) {
  const float start = line.whole + line.begin;
  const float at = (place - start) / line.size, beyond = (place + 1 - start) / line.size;
  const float first = floorf(at) - 1, last = ceilf(beyond) + 1;
  return {int(min(max(first, 0.0f), float(bins))), int(min(max(last, 0.0f), float(bins)))};
}
