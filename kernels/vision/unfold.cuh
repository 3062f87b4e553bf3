// One axis of a convolution's image unfolded: what each tap sees, side by side. After that, the axis' positions are
// images of their own to the axes behind it, and its taps channels.
//
// Layout     folded    (channels, later, before, extent, inner)
//            unfolded  (channels, kernel, later, before, positions, inner), 0 where a tap sees the padding
//            with `later` taps that are unfolded already, `before` the extents of the axes before, `inner` all that
//            stands behind. Both are in the workspace, from `to` and `from` on, but for the image itself.
// Launch     per element of what is written. Deterministic.
#pragma once
#include "common.cuh"

// unfolded = folded, as the taps see it; `nested`: folded is in the workspace
extern "C" __global__ void unfold(
    int count, const float* __restrict__ bottom_data, float* workspace, int nested, int from, int to, int later,
    int before, int extent, int positions, int inner, int kernel, int stride, int pad, int dilation) {
  const float* const folded = (nested ? workspace : bottom_data) + from;
  FOR_EACH(i, count) {
    const int position = i / inner % positions, line = i / inner / positions;
    const int tap = line / before / later % kernel, at = position * stride - pad + tap * dilation;
    const int row = (line / before / later / kernel * later + line / before % later) * before + line % before;
    workspace[to + i] = at >= 0 && at < extent ? folded[(row * extent + at) * inner + i % inner] : 0;
  }
}

// folded = the sum of unfolded over the taps that see it; `nested`: folded is in the workspace
extern "C" __global__ void fold(
    int count, float* workspace, float* __restrict__ bottom_diff, int nested, int from, int to, int later, int before,
    int extent, int positions, int inner, int kernel, int stride, int pad, int dilation) {
  const float* const unfolded = workspace + from;
  float* const folded = (nested ? workspace : bottom_diff) + to;
  FOR_EACH(i, count) {
    const int at = i / inner % extent, row = i / inner / extent;
    const int channel = row / before / later, rest = row % (before * later);
    float sum = 0;
    for (int tap = 0; tap < kernel; ++tap) {
      const int start = at + pad - tap * dilation, position = start / stride;
      if (start < 0 || start % stride != 0 || position >= positions) continue;
      const int line = (channel * kernel + tap) * later * before + rest;
      sum += unfolded[(line * positions + position) * inner + i % inner];
    }
    folded[i] = sum;
  }
}
