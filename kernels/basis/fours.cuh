// Arrays of floats four at a time, as float4, where their addresses allow it.
#pragma once
#include "common.cuh"

// Whether float4s can stand at all these addresses. A null pointer, a missing array, is no hindrance.
template <class... T>
__device__ __forceinline__ bool aligned(const T*... arrays) {
  return (((unsigned long long)arrays | ...) % sizeof(float4)) == 0;
}

// y[i] = f(a[i]); y may be a.
template <class F>
__device__ __forceinline__ void map(int count, const float* a, float* y, F f) {
  const int fours = aligned(a, y) ? count / 4 : 0;
  FOR_EACH(i, fours) {
    const float4 u = ((const float4*)a)[i];
    ((float4*)y)[i] = make_float4(f(u.x), f(u.y), f(u.z), f(u.w));
  }
  FOR_EACH(i, count - 4 * fours) y[4 * fours + i] = f(a[4 * fours + i]);
}

// y[i] = f(a[i], b[i]); y may be a or b.
template <class F>
__device__ __forceinline__ void map(int count, const float* a, const float* b, float* y, F f) {
  const int fours = aligned(a, b, y) ? count / 4 : 0;
  FOR_EACH(i, fours) {
    const float4 u = ((const float4*)a)[i], v = ((const float4*)b)[i];
    ((float4*)y)[i] = make_float4(f(u.x, v.x), f(u.y, v.y), f(u.z, v.z), f(u.w, v.w));
  }
  FOR_EACH(i, count - 4 * fours) y[4 * fours + i] = f(a[4 * fours + i], b[4 * fours + i]);
}

// For bodies that are templates of the element, float or float4.
__device__ __forceinline__ float4 operator+(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ __forceinline__ float4 operator-(float4 a, float4 b) {
  return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
}
__device__ __forceinline__ float4 operator*(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
__device__ __forceinline__ float4 operator+(float4 a, float b) {
  return make_float4(a.x + b, a.y + b, a.z + b, a.w + b);
}
__device__ __forceinline__ float4 operator-(float4 a, float b) {
  return make_float4(a.x - b, a.y - b, a.z - b, a.w - b);
}
__device__ __forceinline__ float4 operator*(float4 a, float b) {
  return make_float4(a.x * b, a.y * b, a.z * b, a.w * b);
}
