// Non-maximum suppression, and what is left of it written as rows.     NumPy: caffepy/layers/detection/nms.py
//
// A list is an item's candidates of a class: those of `number` scores that are not NaN. The box of candidate i is
// (item, i, class), or (item, i) where all classes have boxes in common. `kept` (lists, room) has the numbers of those
// that stay, best first, `counts` (lists) how many they are.
//
// Launch     caffepy/layers/detection/nms.py: a block of 256 threads per list or item.
// Workspace  twice an entry of 8 bytes for each of a block's candidates.
// Deterministic: of equal scores the earlier candidate comes first.
#include "boxes.cuh"
#include "common.cuh"
#include "reduce.cuh"
#include "sort.cuh"

constexpr int CHUNK = 64;               // candidates that are compared with what is kept at once, two to a warp's lane
constexpr int PARTS = SORTERS / CHUNK;  // threads for each of them

// The boxes of a list.
struct Boxes {
  const float* of_item;
  int step, first;

  __device__ __forceinline__ Boxes(const float* boxes, int list, int loc_classes, int classes, int number)
      : of_item(boxes + list / classes * (number * loc_classes * 4)),
        step(loc_classes),
        first(loc_classes > 1 ? list % classes : 0) {}
  __device__ __forceinline__ float4 operator[](int i) const { return box_at(of_item, i * step + first); }
};

// A candidate that is compared with those that stay: its box and the most that it overlaps one of them.
struct Candidate {
  float4 box;
  float worst;

  __device__ __forceinline__ void meet(float4 other, float border) {
    worst = greater(worst, overlap(box, other, border));
  }
};

// Puts the candidates in order; returns how many there are.
__device__ __forceinline__ int ordered(const float* scores, int number, Entry* entries) {
  const Part mine(number);
  int own = 0, total;
  for (int i = mine.first; i < mine.last; ++i) own += scores[i] == scores[i];
  int place = sum_before(own, total);
  for (int i = mine.first; i < mine.last; ++i) {
    if (scores[i] == scores[i]) entries[place++] = {falling(scores[i]), i};
  }
  __syncthreads();
  sort(entries, entries + number, total);
  return total;
}

// Of each list's `looked` best, those stay that overlap none that stays before them by more than the threshold, which
// is multiplied by eta below 1 for each that stays as long as it is above 0.5
extern "C" __global__ void __launch_bounds__(256) nms(
    int count, const float* __restrict__ boxes, const float* __restrict__ scores, int loc_classes, int classes,
    int number, int looked, int room, float threshold, float eta, int border, float* workspace, int* kept,
    int* __restrict__ counts) {
  __shared__ float worst_of[PARTS][CHUNK];
  __shared__ int found_before;
  __shared__ float limit_before;
  Entry* const order = reinterpret_cast<Entry*>(workspace) + size_t(blockIdx.x) * 2 * number;
  const int last = min(ordered(scores + size_t(blockIdx.x) * number, number, order), looked);
  const Boxes of_list(boxes, blockIdx.x, loc_classes, classes, number);
  int* const stay = kept + size_t(blockIdx.x) * room;
  int found = 0;
  float limit = threshold;
  for (int start = 0; start < last && found < room; start += CHUNK) {
    const int size = min(CHUNK, last - start), own = threadIdx.x % CHUNK, part = threadIdx.x / CHUNK;
    if (own < size) {
      Candidate candidate = {of_list[order[start + own].index], 0};
      for (int k = part; k < found; k += PARTS) candidate.meet(of_list[stay[k]], border);
      worst_of[part][own] = candidate.worst;
    }
    __syncthreads();
    if (threadIdx.x < 32) {  // one warp goes through the chunk, two candidates to a lane
      Candidate candidates[2];
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int i = c * 32 + threadIdx.x;
        candidates[c] = {of_list[order[start + min(i, size - 1)].index], 0};
        for (int p = 0; i < size && p < PARTS; ++p)
          candidates[c].worst = greater(candidates[c].worst, worst_of[p][i]);
      }
      for (int i = 0; i < size && found < room; ++i) {
        const float worst = __shfl_sync(~0u, i < 32 ? candidates[0].worst : candidates[1].worst, i % 32);
        if (!(worst <= limit)) continue;
        const int index = order[start + i].index;
        if (threadIdx.x == 0) stay[found] = index;
        ++found;
#pragma unroll
        for (int c = 0; c < 2; ++c) candidates[c].meet(of_list[index], border);
        if (eta < 1 && limit > 0.5f) limit = __fmul_rn(limit, eta);
      }
      if (threadIdx.x == 0) found_before = found, limit_before = limit;
    }
    __syncthreads();
    found = found_before, limit = limit_before;
  }
  if (threadIdx.x == 0) counts[blockIdx.x] = found;
}

// Of an item's lists together the `most` best stay: the first of each, fewer than there were
extern "C" __global__ void __launch_bounds__(256) keep_best(
    const float* __restrict__ scores, const int* __restrict__ kept, int classes, int number, int room, int most,
    float* workspace, int* counts) {
  Entry* const entries = reinterpret_cast<Entry*>(workspace) + size_t(blockIdx.x) * 2 * classes * room;
  int* const of_item = counts + blockIdx.x * classes;
  int total = 0;
  for (int label = 0; label < classes; ++label) {
    const size_t list = size_t(blockIdx.x) * classes + label;
    for (int k = threadIdx.x; k < of_item[label]; k += blockDim.x)
      entries[total + k] = {falling(scores[list * number + kept[list * room + k]]), label};
    total += of_item[label];
  }
  if (total <= most) return;
  __syncthreads();
  for (int label = threadIdx.x; label < classes; label += blockDim.x) of_item[label] = 0;
  sort(entries, entries + classes * room, total);
  for (int i = threadIdx.x; i < most; i += blockDim.x) atomicAdd(of_item + entries[i].index, 1);
}

// How many rows the lists before these have together, and all.
struct Rows {
  int before, all;

  __device__ __forceinline__ Rows(const int* counts, int lists_before, int lists) {
    int own_before = 0, own = 0;
    for (int i = threadIdx.x; i < lists; i += blockDim.x) {
      own += counts[i];
      if (i < lists_before) own_before += counts[i];
    }
    before = block_sum(own_before);
    all = block_sum(own);
  }
};

// top (rows, 7) = item, class, score, box of what stays, item by item; a row of item and -1 for each item if nothing does
extern "C" __global__ void __launch_bounds__(256) write_detections(
    const float* __restrict__ boxes, const float* __restrict__ scores, const int* __restrict__ kept,
    const int* __restrict__ counts, int loc_classes, int classes, int number, int room, int* __restrict__ rows,
    float* __restrict__ top_data) {
  const int item = blockIdx.x, items = gridDim.x;
  const Rows there(counts, item * classes, items * classes);
  if (there.all == 0 && threadIdx.x < 7) top_data[item * 7 + threadIdx.x] = threadIdx.x == 0 ? float(item) : -1.0f;
  if (item == 0 && threadIdx.x == 0) rows[0] = there.all ? there.all : items;
  float* to = top_data + size_t(there.before) * 7;
  for (int label = 0; label < classes; ++label) {
    const int list = item * classes + label, found = counts[list];
    const Boxes of_list(boxes, list, loc_classes, classes, number);
    for (int k = threadIdx.x; k < found; k += blockDim.x) {
      const int i = kept[size_t(list) * room + k];
      const float4 box = of_list[i];
      float* const row = to + k * 7;
      row[0] = float(item), row[1] = float(label), row[2] = scores[size_t(list) * number + i];
      row[3] = box.x, row[4] = box.y, row[5] = box.z, row[6] = box.w;
    }
    to += found * 7;
  }
}

// regions (rows, 5) = item, box, and region_scores (rows) of what stays, item by item; behind them zeros
extern "C" __global__ void __launch_bounds__(256) write_regions(
    const float* __restrict__ boxes, const float* __restrict__ scores, const int* __restrict__ kept,
    const int* __restrict__ counts, int number, int room, int* __restrict__ rows, float* __restrict__ regions,
    float* __restrict__ region_scores) {
  const int item = blockIdx.x, items = gridDim.x, found = counts[item];
  const Rows there(counts, item, items);
  if (item == 0 && threadIdx.x == 0) rows[0] = there.all;
  const Boxes of_list(boxes, item, 1, 1, number);
  for (int k = threadIdx.x; k < room; k += blockDim.x) {
    // What an item leaves of its room lies behind all rows.
    const bool is_there = k < found;
    const int row = is_there ? there.before + k : there.all + item * room - there.before + k - found;
    const int i = is_there ? kept[item * room + k] : 0;
    const float4 box = is_there ? of_list[i] : make_float4(0, 0, 0, 0);
    float* const to = regions + size_t(row) * 5;
    to[0] = is_there ? float(item) : 0.0f, to[1] = box.x, to[2] = box.y, to[3] = box.z, to[4] = box.w;
    if (region_scores != nullptr) region_scores[row] = is_there ? scores[size_t(item) * number + i] : 0.0f;
  }
}
