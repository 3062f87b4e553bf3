// Numbers of 16 bits: fp16, with 10 bits of mantissa and 5 of exponent, or bf16, with 7 and a float's 8.
//
// Constants  narrow          what factors are rounded to on their way into shared memory: 0, nothing; 1, fp16; 2, bf16
//            weight_format   what the weights lie in memory as: 0, floats; else as with `narrow`
#pragma once
#include "ptx.cuh"

template <int format>
struct Stored {
  using type = unsigned short;
};
template <>
struct Stored<0> {
  using type = float;
};
using Weight = Stored<weight_format>::type;

__device__ __forceinline__ float widened(float x) { return x; }
__device__ __forceinline__ float widened(unsigned short x) {
  return weight_format == 1 ? ptx_float_of_fp16(x) : __uint_as_float(unsigned(x) << 16);
}

__device__ __forceinline__ float4 four_at(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ __forceinline__ float4 four_at(const unsigned short* from) {
  const uint2 bits = *reinterpret_cast<const uint2*>(from);
  return {widened((unsigned short)bits.x), widened((unsigned short)(bits.x >> 16)), widened((unsigned short)bits.y),
          widened((unsigned short)(bits.y >> 16))};
}

// Two factors in 32 bits, the first in the lower ones.
__device__ __forceinline__ unsigned packed(float first, float second) {
  return narrow == 1 ? ptx_cvt_fp16x2(first, second) : ptx_cvt_bf16x2(first, second);
}
