// Pooling with one window that is the whole plane.     NumPy: caffepy/layers/vision/global_pooling.py
//
// Layout     planes, n * c of them, of `inner` values; tops of one value a plane.
// Launch     a warp for each plane, blockDim.y of them in a block, or a block for each plane if it is large.
// Constants  none: how large the plane is may change at every pass
// Deterministic: reductions in an order that the launch alone decides.
// Source     BVLC Caffe, pooling_layer.cpp: only what is above -FLT_MAX can be a maximum, and the first one is.
#include "common.cuh"
#include "reduce.cuh"

// `at` goes through a plane's values, shared out to its threads.
#define FOR_EACH_OF_PLANE(at, inner) for (int at = threadIdx.x; at < (inner); at += blockDim.x)

__device__ __forceinline__ int plane_of_thread() { return blockIdx.x * blockDim.y + threadIdx.y; }

// The values of all threads of a plane combined, given to all of them.
template <class T, class Combine>
__device__ __forceinline__ T plane_reduce(T value, Combine combine) {
  return blockDim.x == 32 ? warp_reduce(value, combine) : block_reduce(value, combine);
}

// The first place of the plane's maximum, given to all its threads; -1 without one.
__device__ __forceinline__ int first_maximum(const float* plane, int inner) {
  float greatest = FLT_LOWEST;
  unsigned place = 0;
  FOR_EACH_OF_PLANE(i, inner) {
    if (plane[i] > greatest) {
      greatest = plane[i];
      place = i;
    }
  }
  // The value's bits in the order of unsigned numbers, -0 as 0, above those of the place, the smallest one greatest.
  const unsigned bits = __float_as_uint(greatest + 0.f);
  const unsigned ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  const unsigned long long mine = (unsigned long long)ordered << 32 | ~place;
  const unsigned long long none = 0x00800000ull << 32 | 0xffffffffull;  // -FLT_MAX, place 0
  const unsigned long long winner =
      plane_reduce(mine, [](unsigned long long a, unsigned long long b) { return a > b ? a : b; });
  return winner == none ? -1 : int(~unsigned(winner));
}

// top[p] = max over i of bottom[p, i]; mask[p] = the first such i, or -1
extern "C" __global__ void __launch_bounds__(256) global_max_pool_forward(
    int planes, const float* bottom_data, int inner, int* mask, float* top_data) {
  const int p = plane_of_thread();
  if (p >= planes) return;
  const int place = first_maximum(bottom_data + p * inner, inner);
  if (threadIdx.x == 0) {
    mask[p] = place;
    top_data[p] = place < 0 ? FLT_LOWEST : bottom_data[p * inner + place];
  }
}

// mask_data = mask
extern "C" __global__ void max_pool_mask(int count, const int* mask, float* mask_data) {
  FOR_EACH(i, count) mask_data[i] = float(mask[i]);
}

// bottom_diff[p, i] = top_diff[p] where mask[p] is i, else 0
extern "C" __global__ void __launch_bounds__(256) global_max_pool_backward(
    int planes, const float* top_diff, const int* mask, int inner, float* bottom_diff) {
  const int p = plane_of_thread();
  if (p >= planes) return;
  const int place = mask[p];
  const float diff = top_diff[p];
  FOR_EACH_OF_PLANE(i, inner) bottom_diff[p * inner + i] = i == place ? diff : 0;
}

// top[p] = mean over i of bottom[p, i]
extern "C" __global__ void __launch_bounds__(256) global_ave_pool_forward(
    int planes, const float* bottom_data, int inner, float* top_data) {
  const int p = plane_of_thread();
  if (p >= planes) return;
  float sum = 0;
  FOR_EACH_OF_PLANE(i, inner) sum += bottom_data[p * inner + i];
  sum = plane_reduce(sum, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) top_data[p] = sum / inner;
}

// bottom_diff[p, i] = top_diff[p] / inner
extern "C" __global__ void __launch_bounds__(256) global_ave_pool_backward(
    int planes, const float* top_diff, int inner, float* bottom_diff) {
  const int p = plane_of_thread();
  if (p >= planes) return;
  const float share = top_diff[p] / inner;
  FOR_EACH_OF_PLANE(i, inner) bottom_diff[p * inner + i] = share;
}
