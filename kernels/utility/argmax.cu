// ArgMax.     NumPy: caffepy/layers/utility/argmax.py
//
// Layout     bottom (outer, channels, inner), top (outer, places + values, top_k, inner). `count` = outer * inner columns.
// Launch     a block of whole warps per column. Deterministic.
// Constants  places, values: what is written
// Source     BVLC Caffe, argmax_layer.cpp, which sorts pairs of value and place: of equal values the later is first.
#include "reduce.cuh"

typedef unsigned long long Key;

// In the order of value and place: above the place stand the value's bits as an unsigned number of the same order. A
// NaN is above all, -0 is 0.
__device__ __forceinline__ Key key_of(float value, unsigned place) {
  const unsigned bits = value != value ? 0x7fffffffu : __float_as_uint(value + 0.f);
  return Key(bits >> 31 ? ~bits : bits | 0x80000000u) << 32 | place;
}

// top[o, 0, k, i] = the c of the k-th greatest bottom[o, c, i], if `places`; behind it, if `values`, the value
extern "C" __global__ void argmax_forward(
    int count, const float* bottom_data, int channels, int inner, int top_k, float* top_data) {
  const int o = unsigned(blockIdx.x) / unsigned(inner), i = blockIdx.x - o * inner;
  const float* const column = bottom_data + o * channels * inner + i;
  float* const top = top_data + o * (places + values) * top_k * inner + i;
  Key last = ~Key(0);
  for (int k = 0; k < top_k; ++k) {
    Key greatest = 0;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
      const Key key = key_of(column[c * inner], c);
      if (key < last) greatest = max(greatest, key);
    }
    last = block_max(greatest);
    if (threadIdx.x == 0) {
      const int c = unsigned(last);
      if (places) top[k * inner] = float(c);
      if (values) top[(places * top_k + k) * inner] = column[c * inner];
    }
  }
}
