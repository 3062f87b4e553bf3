// What the three products of a convolution have in common: images, tops, and the window between them.
//
// Layout     Bottom pixels (image, channel, y, x) are at first + image * image_step + channel * channel_step +
//            y * width + x, and so are top positions (image, output, y, x). Channels and outputs as arguments are those
//            of one group.
// Constants  kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w
//            pointwise                     a 1x1 window, stride 1, no pad: a position sees its own pixel, no other
//            unfolded                      the bottom is in the workspace
//            left_vector, right_vector, store_vector   floats read or written at once: 4, or 1 where rows are no
//                                          multiples of 4
//            and those of gemm.cuh
#pragma once
#include "gemm.cuh"

constexpr int taps = kernel_h * kernel_w;

// The planes that a product's right operand reads.
struct Planes {
  int first, image_step, channel_step, height, width;
};

// The kernels' arguments of the same names.
struct Images {
  int num, channels, height, width, bottom_first, bottom_image, bottom_channel;
  int outputs, top_height, top_width, top_first, top_image, top_channel;

  __device__ __forceinline__ Planes bottom(int group_number) const {
    return {bottom_first + group_number * channels * bottom_channel, bottom_image, bottom_channel, height, width};
  }
  __device__ __forceinline__ Planes top(int group_number) const {
    return {top_first + group_number * outputs * top_channel, top_image, top_channel, top_height, top_width};
  }
};

// The right operand: factors are where a line's and a term's offsets and pixels add up to, inside the planes.
template <class Lines>
struct Seen {
  const float* data;
  Planes planes;
  int extent;
  Lines line;

  __device__ __forceinline__ int offset(const Term& term) const { return term.right; }
  __device__ __forceinline__ bool sees(const Line& line, const Term& term) const {
    if constexpr (pointwise) return term.y != NOWHERE;
    return unsigned(line.y + term.y) < unsigned(planes.height) && unsigned(line.x + term.x) < unsigned(planes.width);
  }
};
template <class Lines>
__device__ __forceinline__ Seen<Lines> seen(const float* data, const Planes& planes, int extent, const Lines& lines) {
  return {data, planes, extent, lines};
}
