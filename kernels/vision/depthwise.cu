// Convolution with one channel to a group and few outputs: no product, but a few multiplications for each element.
//
// NumPy      caffepy/layers/vision/convolution.py
//
// A block reads what its elements see of a plane into shared memory, once and side by side, with the zeros around it:
// what follows asks for no bounds. A thread has `strip` elements one below the other and their weights in registers.
// Windows that reach further than shared memory does are taken pixel by pixel from global memory (..._apart).
//
// Layout     bottom (num, channels, height, width), top (num, outputs, top_height, top_width), weights (outputs, taps);
//            output o sees channel o / (outputs / channels).
// Constants  kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, strip, negative_slope
// Launch     caffepy/layers/vision/depthwise_plan.py: blockDim.x columns, blockDim.y strips, blockDim.z planes.
// Deterministic: a sum is made in the order of outputs and taps, or of parts made so.
// Source     BVLC Caffe, base_conv_layer.cpp.
#include "depthwise.cuh"
#include "parts.cuh"
#include "plain.cuh"

// The largest whole number that is not above a / b.
__device__ __forceinline__ int floor_div(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// top = rectified(bias + sum over taps of weight * bottom)
extern "C" __global__ void __launch_bounds__(256) depthwise_forward(
    int planes, const float* __restrict__ bottom_data, const float* __restrict__ weight_data,
    const float* __restrict__ bias_data,
    float* __restrict__ top_data, int channels, int height, int width, int outputs,
    int top_height, int top_width) {
  sum_staged(
      planes, bottom_data, weight_data, top_data, channels, height, width, outputs, top_height, top_width,
      Plain{bias_data});
}

// bottom_diff = sum over the channel's outputs and taps of weight * top_diff
extern "C" __global__ void __launch_bounds__(256) depthwise_backward(
    int planes, const float* __restrict__ top_diff, const float* __restrict__ weight_data,
    float* __restrict__ bottom_diff, int channels, int height, int width, int outputs, int top_height, int top_width) {
  extern __shared__ float staged[];
  const int plane = blockIdx.x * blockDim.z + threadIdx.z, together = outputs / channels;
  const int top = blockIdx.y * blockDim.y * strip, left = blockIdx.z * blockDim.x;
  // The first position that may see a pixel of the block, and how many there are from it on.
  const int first_y = floor_div(top + pad_h - reach_h, stride_h), first_x = floor_div(left + pad_w - reach_w, stride_w);
  const int rows = (blockDim.y * strip + reach_h - 1 + stride_h - 1) / stride_h + 1;
  const int columns = (blockDim.x + reach_w - 1 + stride_w - 1) / stride_w + 1;
  float* const positions = staged + threadIdx.z * rows * columns;
  const int row = top + threadIdx.y * strip, column = left + threadIdx.x;
  const int from_y = row + pad_h - first_y * stride_h, from_x = column + pad_w - first_x * stride_w;
  float sums[strip] = {};
  for (int o = 0; o < together; ++o) {
    const int output = plane % channels * together + o;
    if (plane < planes) {
      const int tops = plane / channels * outputs + output;
      stage(top_diff + tops * top_height * top_width, top_height, top_width, first_y, first_x, rows, columns, positions);
    }
    __syncthreads();
    const float* const weights = weight_data + output * taps;
#pragma unroll(written_out)
    for (int y = 0; y < kernel_h; ++y) {
#pragma unroll(written_out)
      for (int x = 0; x < kernel_w; ++x) {
        const int off_x = from_x - x * dilation_w;
        const float weight = weights[y * kernel_w + x];
#pragma unroll
        for (int s = 0; s < strip; ++s) {
          const int off_y = from_y + s - y * dilation_h;
          if (off_y % stride_h == 0 && off_x % stride_w == 0)
            sums[s] = fmaf(weight, positions[off_y / stride_h * columns + off_x / stride_w], sums[s]);
        }
      }
    }
    __syncthreads();  // before the next output's positions take their place
  }
  if (plane >= planes || column >= width) return;
#pragma unroll
  for (int s = 0; s < strip; ++s) {
    if (row + s < height) bottom_diff[(plane * height + row + s) * width + column] = sums[s];
  }
}

// The same, a thread per position and no shared memory
extern "C" __global__ void depthwise_forward_apart(
    int count, const float* __restrict__ bottom_data, const float* __restrict__ weight_data,
    const float* __restrict__ bias_data,
    float* __restrict__ top_data, int channels, int height, int width, int outputs,
    int top_height, int top_width) {
  sum_apart(
      count, bottom_data, weight_data, top_data, channels, height, width, outputs, top_height, top_width,
      Plain{bias_data});
}

// The same, a thread per pixel and no shared memory
extern "C" __global__ void depthwise_backward_apart(
    int count, const float* __restrict__ top_diff, const float* __restrict__ weight_data,
    float* __restrict__ bottom_diff, int channels, int height, int width, int outputs, int top_height, int top_width) {
  const int together = outputs / channels;
  FOR_EACH(i, count) {
    const unsigned row = unsigned(i) / unsigned(width), plane = row / unsigned(height);
    const int y = int(row % unsigned(height)) + pad_h, x = int(unsigned(i) % unsigned(width)) + pad_w;
    const int channel = plane % unsigned(channels), image = plane / unsigned(channels);
    float sum = 0;
    for (int output = channel * together; output < (channel + 1) * together; ++output) {
      const float* const positions = top_diff + (image * outputs + output) * top_height * top_width;
      for (int tap = 0; tap < taps; ++tap) {
        const int from_y = y - tap / kernel_w * dilation_h, from_x = x - tap % kernel_w * dilation_w;
        if (from_y < 0 || from_x < 0 || from_y % stride_h != 0 || from_x % stride_w != 0) continue;
        const int at_y = from_y / stride_h, at_x = from_x / stride_w;
        if (at_y < top_height && at_x < top_width)
          sum = fmaf(weight_data[output * taps + tap], positions[at_y * top_width + at_x], sum);
      }
    }
    bottom_diff[i] = sum;
  }
}

constexpr int taps_together = taps < 16 ? taps : 16;

// weight_diff += sum over images and positions of top_diff * bottom
//
// A block has an output, `taps_together` of its taps, and the positions from blockIdx.y * share on, in all images. With
// one block for all of them it adds to weight_diff, else it writes a part.
extern "C" __global__ void __launch_bounds__(256) depthwise_backward_weights(
    const float* __restrict__ bottom_data, const float* __restrict__ top_diff, float* workspace,
    float* __restrict__ weight_diff, int num, int channels, int height, int width, int outputs, int top_height,
    int top_width, int share, int parts, int parts_step) {
  const int output = blockIdx.x % outputs, first_tap = blockIdx.x / outputs * taps_together;
  const int channel = output / (outputs / channels);
  const unsigned positions = top_height * top_width;
  const int first = int(blockIdx.y) * share, last = min(first + share, int(num * positions));
  float sums[taps_together] = {};
  for (int i = first + int(threadIdx.x); i < last; i += blockDim.x) {
    const unsigned image = unsigned(i) / positions, position = unsigned(i) % positions;
    const int y = int(position / unsigned(top_width)) * stride_h - pad_h;
    const int x = int(position % unsigned(top_width)) * stride_w - pad_w;
    const float* const pixels = bottom_data + (int(image) * channels + channel) * height * width;
    const float diff = top_diff[(int(image) * outputs + output) * int(positions) + int(position)];
#pragma unroll
    for (int t = 0; t < taps_together; ++t) {
      const int at_y = y + (first_tap + t) / kernel_w * dilation_h;
      const int at_x = x + (first_tap + t) % kernel_w * dilation_w;
      if (unsigned(at_y) < unsigned(height) && unsigned(at_x) < unsigned(width))
        sums[t] = fmaf(diff, pixels[at_y * width + at_x], sums[t]);
    }
  }
  const bool whole = gridDim.y == 1;
  float* const to = whole ? weight_diff : workspace + parts + int(blockIdx.y) * parts_step;
  for (int t = 0; t < taps_together; ++t) {
    const float sum = block_sum(sums[t]);
    float* const at = to + output * taps + first_tap + t;
    if (threadIdx.x == 0 && first_tap + t < taps) *at = whole ? *at + sum : sum;
  }
}

// weight_diff += the sum of its parts
extern "C" __global__ void depthwise_backward_weights_sum(
    int count, const float* __restrict__ workspace, float* __restrict__ weight_diff, int number, int parts,
    int parts_step) {
  FOR_EACH(i, count) weight_diff[i] += sum_of_parts(workspace + parts, number, parts_step, i);
}
