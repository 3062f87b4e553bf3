// Depthwise convolution: planes in shared memory, and its forward pass, whatever becomes of the sums.
//
// Layout, constants, launch   depthwise.cu
#pragma once
#include "common.cuh"

constexpr int taps = kernel_h * kernel_w;
constexpr int written_out = strip > 1 ? 32 : 1;  // loops over a small window
constexpr int reach_h = (kernel_h - 1) * dilation_h, reach_w = (kernel_w - 1) * dilation_w;

// Writes rows * columns values of a plane, from (top, left) on, to shared memory: each of blockDim.z planes by its own
// threads; zeros beyond its edges.
__device__ __forceinline__ void stage(
    const float* __restrict__ plane, int height, int width, int top, int left, int rows, int columns, float* to) {
  for (int r = threadIdx.y; r < rows; r += blockDim.y) {
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
      const int y = top + r, x = left + c;
      const bool inside = unsigned(y) < unsigned(height) && unsigned(x) < unsigned(width);
      to[r * columns + c] = inside ? plane[y * width + x] : 0;
    }
  }
}

// What becomes of the sum over taps of weight * bottom goes to top.
template <class Finish>
__device__ __forceinline__ void sum_staged(
    int planes, const float* __restrict__ bottom_data, const float* __restrict__ weight_data,
    float* __restrict__ top_data, int channels, int height, int width, int outputs,
    int top_height, int top_width, const Finish& finish) {
  extern __shared__ float staged[];
  const int plane = blockIdx.x * blockDim.z + threadIdx.z, output = plane % outputs;
  const int top = blockIdx.y * blockDim.y * strip, left = blockIdx.z * blockDim.x;
  const int rows = (blockDim.y * strip - 1) * stride_h + reach_h + 1, columns = (blockDim.x - 1) * stride_w + reach_w + 1;
  float* const pixels = staged + threadIdx.z * rows * columns;
  if (plane < planes) {
    const int channel = plane / outputs * channels + output / (outputs / channels);
    stage(bottom_data + channel * height * width, height, width, top * stride_h - pad_h, left * stride_w - pad_w, rows,
          columns, pixels);
  }
  __syncthreads();
  const int row = top + threadIdx.y * strip, column = left + threadIdx.x;
  if (plane >= planes || row >= top_height || column >= top_width) return;
  const float* const weights = weight_data + output * taps;
  const float* const seen = pixels + threadIdx.y * strip * stride_h * columns + threadIdx.x * stride_w;
  const auto finished = finish.of(output);
  float sums[strip] = {};
#pragma unroll(written_out)
  for (int y = 0; y < kernel_h; ++y) {
#pragma unroll(written_out)
    for (int x = 0; x < kernel_w; ++x) {
      const float weight = weights[y * kernel_w + x];
#pragma unroll
      for (int s = 0; s < strip; ++s)
        sums[s] = fmaf(weight, seen[(s * stride_h + y * dilation_h) * columns + x * dilation_w], sums[s]);
    }
  }
#pragma unroll
  for (int s = 0; s < strip; ++s) {
    if (row + s >= top_height) break;
    const int position = (row + s) * top_width + column, at = plane * top_height * top_width + position;
    finished.template write<1>(top_data, at, at == output * top_height * top_width, &sums[s]);
  }
}

// The same, a thread per position and no shared memory
template <class Finish>
__device__ __forceinline__ void sum_apart(
    int count, const float* __restrict__ bottom_data, const float* __restrict__ weight_data,
    float* __restrict__ top_data, int channels, int height, int width, int outputs,
    int top_height, int top_width, const Finish& finish) {
  FOR_EACH(i, count) {
    const unsigned row = unsigned(i) / unsigned(top_width), plane = row / unsigned(top_height);
    const int output = plane % unsigned(outputs), image = plane / unsigned(outputs);
    const int y = int(row % unsigned(top_height)) * stride_h - pad_h;
    const int x = int(unsigned(i) % unsigned(top_width)) * stride_w - pad_w;
    const float* const pixels = bottom_data + (image * channels + output / (outputs / channels)) * height * width;
    float sum = 0;
    for (int tap = 0; tap < taps; ++tap) {
      const int at_y = y + tap / kernel_w * dilation_h, at_x = x + tap % kernel_w * dilation_w;
      if (unsigned(at_y) < unsigned(height) && unsigned(at_x) < unsigned(width))
        sum = fmaf(weight_data[output * taps + tap], pixels[at_y * width + at_x], sum);
    }
    finish.of(output).template write<1>(top_data, i, i == output * top_height * top_width, &sum);
  }
}
