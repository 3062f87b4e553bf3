// Sorting by a block of whole warps, and counting before it: the order of equal keys stays.
#pragma once

constexpr int SORTERS = 256;                  // threads of a block that sorts
constexpr int DIGIT_BITS = 4, DIGITS = 1 << DIGIT_BITS;

struct __align__(8) Entry {
  unsigned key;
  int index;
};

// A number that is the less, the greater x is; alike for 0 and -0. x is no NaN.
__device__ __forceinline__ unsigned falling(float x) {
  const unsigned bits = x == 0 ? 0 : __float_as_uint(x);
  return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

// The sum of the values of the threads before this one; `total` is that of all. Every thread of the block comes here.
__device__ __forceinline__ int sum_before(int value, int& total) {
  __shared__ int of_warp[32];
  int sum = value;
  for (int distance = 1; distance < 32; distance *= 2) {
    const int before = __shfl_up_sync(~0u, sum, distance);
    if (int(threadIdx.x) % 32 >= distance) sum += before;
  }
  if (threadIdx.x % 32 == 31) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  int first = 0;
  total = 0;
  for (int warp = 0; warp < int(blockDim.x) / 32; ++warp) {
    if (warp == int(threadIdx.x) / 32) first = total;
    total += of_warp[warp];
  }
  __syncthreads();  // before of_warp is written again
  return first + sum - value;
}

// A thread's part of `count` places: neighbours, so that what the threads keep in their order stays in order.
struct Part {
  int first, last;
  __device__ __forceinline__ explicit Part(int count) {
    const int share = (count + int(blockDim.x) - 1) / int(blockDim.x);
    first = min(int(threadIdx.x) * share, count);
    last = min(first + share, count);
  }
};

// Sorts `entries` by rising key; `other` is as much memory for the passes in between. A block of SORTERS threads, which
// sees all entries written, and after it all sorted.
__device__ __forceinline__ void sort(Entry* entries, Entry* other, int count) {
  __shared__ int places[DIGITS * SORTERS];  // by digit, then by thread
  static_assert(32 / DIGIT_BITS % 2 == 0, "the passes end where they began");
  const Part mine(count);
  for (int shift = 0; shift < 32; shift += DIGIT_BITS) {
    int* const of_mine = places + threadIdx.x;
    for (int digit = 0; digit < DIGITS; ++digit) of_mine[digit * SORTERS] = 0;
    for (int i = mine.first; i < mine.last; ++i) ++of_mine[(entries[i].key >> shift) % DIGITS * SORTERS];
    __syncthreads();
    int* const run = places + threadIdx.x * DIGITS;
    int sum = 0, total;
    for (int i = 0; i < DIGITS; ++i) sum += run[i];
    int place = sum_before(sum, total);
    for (int i = 0; i < DIGITS; ++i) {
      const int number = run[i];
      run[i] = place;
      place += number;
    }
    __syncthreads();
    for (int i = mine.first; i < mine.last; ++i) {
      const Entry entry = entries[i];
      other[of_mine[(entry.key >> shift) % DIGITS * SORTERS]++] = entry;
    }
    __syncthreads();
    Entry* const sorted = other;
    other = entries, entries = sorted;
  }
}
