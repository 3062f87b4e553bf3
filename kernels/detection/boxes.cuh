// Boxes of xmin, ymin, xmax, ymax, decoded and compared.     NumPy: caffepy/layers/detection/boxes.py
//
// Rounded step by step, exponentials through double, so that the same boxes stay on either device.
#pragma once

constexpr int CENTER_SIZE = 2, CORNER_SIZE = 3;  // of PriorBoxParameter.CodeType

__device__ __forceinline__ float4 box_at(const float* boxes, int i) {
  return reinterpret_cast<const float4*>(boxes)[i];
}

// NaN if either is.
__device__ __forceinline__ float lesser(float a, float b) { return a < b || a != a ? a : b; }
__device__ __forceinline__ float greater(float a, float b) { return a > b || a != a ? a : b; }

__device__ __forceinline__ float middle(float first, float last) { return __fdiv_rn(__fadd_rn(first, last), 2.0f); }

// The box that the code times the variance means relative to a prior.
__device__ __forceinline__ float4 decoded(float4 code, float4 prior, float4 variance, int code_type) {
  float4 move = {__fmul_rn(code.x, variance.x), __fmul_rn(code.y, variance.y), __fmul_rn(code.z, variance.z),
                 __fmul_rn(code.w, variance.w)};
  const float width = __fsub_rn(prior.z, prior.x), height = __fsub_rn(prior.w, prior.y);
  if (code_type == CENTER_SIZE) {
    const float x = __fadd_rn(middle(prior.x, prior.z), __fmul_rn(move.x, width));
    const float y = __fadd_rn(middle(prior.y, prior.w), __fmul_rn(move.y, height));
    const float half_width = __fdiv_rn(__fmul_rn(width, float(exp(double(move.z)))), 2.0f);
    const float half_height = __fdiv_rn(__fmul_rn(height, float(exp(double(move.w)))), 2.0f);
    return {__fsub_rn(x, half_width), __fsub_rn(y, half_height), __fadd_rn(x, half_width), __fadd_rn(y, half_height)};
  }
  if (code_type == CORNER_SIZE) {
    move = {__fmul_rn(move.x, width), __fmul_rn(move.y, height), __fmul_rn(move.z, width), __fmul_rn(move.w, height)};
  }
  return {__fadd_rn(prior.x, move.x), __fadd_rn(prior.y, move.y), __fadd_rn(prior.z, move.z),
          __fadd_rn(prior.w, move.w)};
}

__device__ __forceinline__ float extent(float first, float last, float border) {
  return greater(__fadd_rn(__fsub_rn(last, first), border), 0.0f);
}

__device__ __forceinline__ float area(float4 box, float border) {
  return __fmul_rn(extent(box.x, box.z, border), extent(box.y, box.w, border));
}

// Intersection over union; border 1: of pixels, the last row and column included.
__device__ __forceinline__ float overlap(float4 a, float4 b, float border) {
  const float width = extent(greater(a.x, b.x), lesser(a.z, b.z), border);
  const float height = extent(greater(a.y, b.y), lesser(a.w, b.w), border);
  const float shared = __fmul_rn(height, width);
  const float whole = __fsub_rn(__fadd_rn(area(a, border), area(b, border)), shared);
  return shared > 0 ? __fdiv_rn(shared, whole) : 0.0f;
}
