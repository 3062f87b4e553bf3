// Value by value, without constants.     NumPy: caffepy/layers/{elementwise,split,sigmoid,tanh,dropout,
//                                            eltwise,activations,functions,silence}.py
//
// Layout     equally large arrays of `count` elements; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); floats four at a time where the arrays are aligned. Deterministic.
// Source     BVLC Caffe's layers of the same names; ReLU6, HardSwish: Howard et al. 2017 and 2019. A NaN stays one.
#include "fours.cuh"

// top = bottom
extern "C" __global__ void copy_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return x; });
}

// bottom_diff = top_diff
extern "C" __global__ void copy_backward(int count, const float* top_diff, float* bottom_diff) {
  map(count, top_diff, bottom_diff, [](float dy) { return dy; });
}

// bottom_diff = first_diff + second_diff
extern "C" __global__ void split_backward(
    int count, const float* first_diff, const float* second_diff, float* bottom_diff) {
  map(count, first_diff, second_diff, bottom_diff, [](float a, float b) { return a + b; });
}

// top = tanh(bottom / 2) / 2 + 1/2: the logistic function, without overflow
extern "C" __global__ void sigmoid_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return 0.5f * tanhf(0.5f * x) + 0.5f; });
}

// bottom_diff = top_diff * top * (1 - top)
extern "C" __global__ void sigmoid_backward(
    int count, const float* top_data, const float* top_diff, float* bottom_diff) {
  map(count, top_data, top_diff, bottom_diff, [](float y, float dy) { return dy * ((1 - y) * y); });
}

// top = tanh(bottom)
extern "C" __global__ void tanh_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return tanhf(x); });
}

// bottom_diff = top_diff * (1 - top^2)
extern "C" __global__ void tanh_backward(
    int count, const float* top_data, const float* top_diff, float* bottom_diff) {
  map(count, top_data, top_diff, bottom_diff, [](float y, float dy) { return dy * (1 - y * y); });
}

// top = |bottom|
extern "C" __global__ void absval_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return fabsf(x); });
}

// bottom_diff = top_diff * sign(bottom), 0 where bottom is 0
extern "C" __global__ void absval_backward(
    int count, const float* bottom_data, const float* top_diff, float* bottom_diff) {
  map(count, bottom_data, top_diff, bottom_diff, [](float x, float dy) {
    return dy * (x > 0 ? 1 : x < 0 ? -1 : x);  // x: 0 or NaN
  });
}

// top = max(bottom, 0) + log(1 + exp(-|bottom|)): log(1 + exp(bottom)), without overflow
extern "C" __global__ void bnll_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return (x < 0 ? 0 : x) + log1pf(expf(-fabsf(x))); });
}

// bottom_diff = top_diff * (1 - exp(-top))
extern "C" __global__ void bnll_backward(
    int count, const float* top_data, const float* top_diff, float* bottom_diff) {
  map(count, top_data, top_diff, bottom_diff, [](float y, float dy) { return dy * -expm1f(-y); });
}

// value between the bounds; a NaN stays one
__device__ __forceinline__ float clipped(float value, float low, float high) {
  return value < low ? low : value > high ? high : value;
}

// top = min(max(bottom, 0), 6)
extern "C" __global__ void relu6_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return clipped(x, 0, 6); });
}

// bottom_diff = top_diff where 0 < top < 6, else 0
extern "C" __global__ void relu6_backward(
    int count, const float* top_data, const float* top_diff, float* bottom_diff) {
  map(count, top_data, top_diff, bottom_diff, [](float y, float dy) { return dy * float(y > 0 && y < 6); });
}

// top = bottom * min(max(bottom + 3, 0), 6) / 6
extern "C" __global__ void hard_swish_forward(int count, const float* bottom_data, float* top_data) {
  map(count, bottom_data, top_data, [](float x) { return x * clipped(x + 3, 0, 6) / 6; });
}

// bottom_diff = top_diff * (0 if bottom < -3, 1 if bottom > 3, else bottom / 3 + 1 / 2)
extern "C" __global__ void hard_swish_backward(
    int count, const float* bottom_data, const float* top_diff, float* bottom_diff) {
  map(count, bottom_data, top_diff, bottom_diff, [](float x, float dy) {
    return dy * (x < -3 ? 0 : x > 3 ? 1 : x / 3 + 0.5f);
  });
}

// bottom_diff = 0
extern "C" __global__ void silence_backward(int count, float* bottom_diff) {
  FOR_EACH(i, count) bottom_diff[i] = 0;
}

// scaled = values * scale
extern "C" __global__ void dropout_scale(int count, const float* values, float scale, float* scaled) {
  map(count, values, scaled, [scale](float x) { return x * scale; });
}

// bottom_diff = top_diff * mask
extern "C" __global__ void dropout_backward(int count, const float* top_diff, const float* mask, float* bottom_diff) {
  map(count, top_diff, mask, bottom_diff, [](float dy, float factor) { return dy * factor; });
}

// top = first * second
extern "C" __global__ void eltwise_prod_forward(
    int count, const float* first_data, const float* second_data, float* top_data) {
  map(count, first_data, second_data, top_data, [](float a, float b) { return a * b; });
}

// The greater; NaN if one of them is.
__device__ __forceinline__ float maximum(float a, float b) { return a > b || a != a ? a : b; }

// top = first, mask = 0 if first > second, else top = second, mask = 1: so with a tie
extern "C" __global__ void eltwise_max_forward(
    int count, const float* first_data, const float* second_data, int* mask, float* top_data) {
  FOR_EACH(i, count) {
    const float a = first_data[i], b = second_data[i];
    mask[i] = !(a > b);
    top_data[i] = maximum(a, b);
  }
}

// top = bottom, mask = index where bottom > top
extern "C" __global__ void eltwise_max_further_forward(
    int count, const float* bottom_data, int index, int* mask, float* top_data) {
  FOR_EACH(i, count) {
    const float x = bottom_data[i], y = top_data[i];
    if (x > y) mask[i] = index;
    top_data[i] = maximum(x, y);
  }
}

// bottom_diff = top_diff if mask == index else 0
extern "C" __global__ void eltwise_max_backward(
    int count, const float* top_diff, const int* mask, int index, float* bottom_diff) {
  FOR_EACH(i, count) bottom_diff[i] = top_diff[i] * float(mask[i] == index);
}
