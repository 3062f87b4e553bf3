// Convolution with one channel to a group: no product, but a weighted sum of what the taps see.
//
// Layout     bottom (num, channels, height, width), top (num, outputs, top_height, top_width), weights (outputs, taps);
//            outputs is a multiple of channels, output o sees channel o / (outputs / channels).
// Launch     per element of what is written; weights, a block of whole warps per output and some taps.
// Constants  those of convolution.cuh
// Deterministic: a sum is made in the order of taps, or in one that the launch decides.
#pragma once
#include "convolution.cuh"
#include "reduce.cuh"

// top = bias + sum over taps of weight * bottom
extern "C" __global__ void depthwise_forward(
    int count, const float* __restrict__ bottom_data, const float* __restrict__ weight_data,
    const float* __restrict__ bias_data, float* __restrict__ top_data, int channels, int height, int width, int outputs,
    int top_height, int top_width) {
  FOR_EACH(i, count) {
    const unsigned row = unsigned(i) / unsigned(top_width), plane = row / unsigned(top_height);
    const int output = plane % unsigned(outputs), image = plane / unsigned(outputs);
    const int y = int(row % unsigned(top_height)) * stride_h - pad_h;
    const int x = int(unsigned(i) % unsigned(top_width)) * stride_w - pad_w;
    const float* const pixels = bottom_data + (image * channels + output / (outputs / channels)) * height * width;
    float sum = bias_data != nullptr ? bias_data[output] : 0;
    for (int tap = 0; tap < taps; ++tap) {
      const int at_y = y + tap / kernel_w * dilation_h, at_x = x + tap % kernel_w * dilation_w;
      if (unsigned(at_y) < unsigned(height) && unsigned(at_x) < unsigned(width))
        sum = fmaf(weight_data[output * taps + tap], pixels[at_y * width + at_x], sum);
    }
    top_data[i] = sum;
  }
}

// bottom_diff = sum over the channel's outputs and taps of weight * top_diff
extern "C" __global__ void depthwise_backward(
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
