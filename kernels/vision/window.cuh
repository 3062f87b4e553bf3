// Pooling's windows: what they see of their plane, and what a pixel gets from the windows that see it.
//
// Constants  kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w; strip, tile_rows, tile_windows: pooling_plan.py
#pragma once
#include "planes.cuh"

constexpr bool SMALL_WINDOW = strip > 1;  // then loops over it are written out

// What `strip` windows one below the other, from (ph, pw) on, see. A Seen begins with nothing seen, sees values with
// their places h * width + w along a row, and then takes in the next row below; outside the plane is Seen::OUTSIDE.
template <class Seen>
__device__ __forceinline__ void look(
    const float* bottom_data, int plane, int height, int width, int ph, int pw, Seen (&windows)[strip]) {
  const float* const pixels = bottom_data + plane * height * width;
  constexpr int rows = (strip - 1) * stride_h + kernel_h;
  const int top = ph * stride_h - pad_h, left = pw * stride_w - pad_w;
#pragma unroll(SMALL_WINDOW ? rows : 1)
  for (int i = 0; i < rows; ++i) {
    Seen row;
#pragma unroll(SMALL_WINDOW ? kernel_w : 1)
    for (int j = 0; j < kernel_w; ++j) {
      const int h = top + i, w = left + j, place = h * width + w;
      const bool inside = unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width);
      row.see(inside ? pixels[place] : Seen::OUTSIDE, place);
    }
#pragma unroll
    for (int r = 0; r < strip; ++r) {
      if (i >= r * stride_h && i < r * stride_h + kernel_h) windows[r].below(row);
    }
  }
}

// For windows that need not look.
struct Nothing {};
__device__ __forceinline__ void look(const float*, int, int, int, int, int, Nothing (&)[strip]) {}

// put(what the window sees, its index in all tops, ph, pw) for every window, each thread for `strip` windows one below
// the other.
template <class Seen, class Put>
__device__ __forceinline__ void per_window(
    int planes, const float* bottom_data, int height, int width, int pooled_height, int pooled_width, Put put) {
  const Position at = position();
  const int ph = at.h * strip;
  if (at.plane >= planes || ph >= pooled_height || at.w >= pooled_width) return;
  Seen windows[strip];
  look(bottom_data, at.plane, height, width, ph, at.w, windows);
#pragma unroll
  for (int r = 0; r < strip; ++r) {
    if (ph + r >= pooled_height) break;
    put(windows[r], (at.plane * pooled_height + ph + r) * pooled_width + at.w, ph + r, at.w);
  }
}

// What a window gives to one pixel alone, pixel `to` of all; -1 to none.
struct Diff {
  int to = -1;
  float value = 0;
  __device__ float at(int i) const { return to == i ? value : 0; }
};

// Of so many windows along an axis at most one sees a pixel; the last of them is (pixel + pad) / stride.
constexpr int SEEN_BY_H = (kernel_h - 1) / stride_h + 1, SEEN_BY_W = (kernel_w - 1) / stride_w + 1;

// bottom_diff[i] = the sum of give(t, i) over the windows that see pixel i, row by row, where t = take(what the window
// sees, plane, ph, pw), a T, is what a window has to give; a T{} gives 0.
//
// A block has a tile of pixels: blockDim.z planes, tile_rows * blockDim.y rows, blockDim.x columns. What the windows
// around it, rows * columns for each plane, have to give goes to shared memory, some rows at once if they are too many,
// and the pixels gather it from there. Every thread of the block must come here.
template <class T, class Seen, class Take, class Give>
__device__ __forceinline__ void per_pixel(
    int planes, const float* bottom_data, int height, int width, int pooled_height, int pooled_width,
    float* bottom_diff, int rows, int rows_at_once, int columns, Take take, Give give) {
  __shared__ T taken[tile_windows];
  const int first_plane = blockIdx.x * blockDim.z, plane = first_plane + threadIdx.z;
  const int top = blockIdx.y * blockDim.y * tile_rows, left = blockIdx.z * blockDim.x, w = left + threadIdx.x;
  const int first_ph = (top + pad_h) / stride_h - (SEEN_BY_H - 1);
  const int first_pw = (left + pad_w) / stride_w - (SEEN_BY_W - 1);
  const int strips = rows_at_once / strip;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;

  float sum[tile_rows] = {};
  for (int row = 0; row < rows; row += rows_at_once) {
    __syncthreads();
    for (unsigned i = thread; i < blockDim.z * strips * columns; i += blockDim.x * blockDim.y * blockDim.z) {
      const unsigned s = i / columns, z = s / strips;
      const int ph = first_ph + row + int(s - z * strips) * strip, pw = first_pw + int(i - s * columns);
      const int its_plane = first_plane + int(z);
      Seen windows[strip];
      const bool exists = its_plane < planes && unsigned(pw) < unsigned(pooled_width);
      if (exists) look(bottom_data, its_plane, height, width, ph, pw, windows);
#pragma unroll
      for (int r = 0; r < strip; ++r) {
        const bool this_too = exists && unsigned(ph + r) < unsigned(pooled_height);
        taken[i + s * (strip - 1) * columns + r * columns] = this_too ? take(windows[r], its_plane, ph + r, pw) : T{};
      }
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < tile_rows; ++r) {
      const int h = top + threadIdx.y + r * blockDim.y;
      if (plane >= planes || h >= height || w >= width) break;
      // The first of the windows that may see the pixel, in `taken`, and how far its last ones begin before the pixel.
      const int ph = (h + pad_h) / stride_h - (SEEN_BY_H - 1) - first_ph - row;
      const int pw = (w + pad_w) / stride_w - (SEEN_BY_W - 1) - first_pw;
      const int rest_h = (h + pad_h) % stride_h, rest_w = (w + pad_w) % stride_w;
      const T* const here = taken + (int(threadIdx.z) * rows_at_once + ph) * columns + pw;
#pragma unroll(SMALL_WINDOW ? SEEN_BY_H : 1)
      for (int i = 0; i < SEEN_BY_H; ++i) {
        if (!SMALL_WINDOW && unsigned(ph + i) >= unsigned(rows_at_once)) continue;  // a small one's rows fit at once
#pragma unroll(SMALL_WINDOW ? SEEN_BY_W : 1)
        for (int j = 0; j < SEEN_BY_W; ++j) {
          const bool sees = rest_h + (SEEN_BY_H - 1 - i) * stride_h < kernel_h &&
                            rest_w + (SEEN_BY_W - 1 - j) * stride_w < kernel_w;
          if (sees) sum[r] += give(here[i * columns + j], (plane * height + h) * width + w);
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < tile_rows; ++r) {
    const int h = top + threadIdx.y + r * blockDim.y;
    if (plane < planes && h < height && w < width) bottom_diff[(plane * height + h) * width + w] = sum[r];
  }
}
