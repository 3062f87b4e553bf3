// Local response normalisation.     NumPy: caffepy/layers/normalization/lrn.py
//
// Layout     (n, channels, height, width).
// Launch     lrn_plan.py. Across channels: a thread for each strip of channels of a pixel, which loads the
//            strip and what is around it at once and so waits for memory once; neighbouring threads have neighbouring
//            pixels. A thread for a whole column of channels would be too few threads at batch 1; one for each value
//            would load it local_size times. Within a channel: a thread for each value.
// Constants  local_size, alpha, beta, k (forward), within; strip
// Deterministic: every sum is taken afresh in one order. A running sum, less what leaves and plus what enters, would
//            keep the rounding errors of large values that have left.
// Source     BVLC Caffe, lrn_layer.cpp: alpha is divided by local_size across channels, by its square within one.
#include "common.cuh"
#include "planes.cuh"

constexpr int HALF = local_size / 2;
constexpr float ALPHA = alpha / (within ? local_size * local_size : local_size);
constexpr bool SMALL = local_size <= 15;  // then loops over arrays are written out, and the arrays are registers
constexpr int UNROLL = SMALL ? local_size : 1, UNROLL_STRIP = SMALL ? strip + local_size - 1 : 1;
constexpr int UNROLL_SQUARE = local_size <= 5 ? local_size : 1;

// scale^-beta. Three quarters, the usual beta, take two roots, to 4 units in the last place; others a power.
__device__ __forceinline__ float inverse_power(float scale) {
  if (beta != 0.75f) return powf(scale, -beta);
  const float root = rsqrtf(scale);
  return root * sqrtf(root);
}

// A strip of channels of one pixel.
struct Strip {
  int offset, inner, channel, channels;

  __device__ Strip(int blocks_of_pixels, int channels, int inner) : inner(inner), channels(channels) {
    const int n = blockIdx.x / blocks_of_pixels;
    const int pixel = (blockIdx.x - n * blocks_of_pixels) * blockDim.x + threadIdx.x;
    channel = pixel < inner ? int(blockIdx.y * blockDim.y + threadIdx.y) * strip : channels;
    offset = n * channels * inner + pixel;
  }
  __device__ bool has(int c) const { return unsigned(c) < unsigned(channels) && channel < channels; }
  __device__ int at(int c) const { return offset + c * inner; }
};

// The sum of `local_size` values from `first` on.
template <class F>
__device__ __forceinline__ float sum_around(F value) {
  float sum = 0;
#pragma unroll UNROLL
  for (int j = 0; j < local_size; ++j) sum += value(j);
  return sum;
}

// scale = k + alpha / local_size * sum of bottom^2 around; top = bottom / scale^beta
extern "C" __global__ void __launch_bounds__(256) lrn_across_forward(
    int blocks_of_pixels, const float* bottom_data, int channels, int height, int width, float* scale,
    float* top_data) {
  const Strip s(blocks_of_pixels, channels, height * width);
  float bottom[strip + local_size - 1];
#pragma unroll UNROLL_STRIP
  for (int i = 0; i < strip + local_size - 1; ++i) {
    const int c = s.channel - HALF + i;
    bottom[i] = s.has(c) ? bottom_data[s.at(c)] : 0;
  }
#pragma unroll
  for (int i = 0; i < strip; ++i) {
    const int c = s.channel + i;
    if (!s.has(c)) break;
    const float sum = sum_around([&](int j) { return bottom[i + j] * bottom[i + j]; });
    const float divisor = k + ALPHA * sum;
    scale[s.at(c)] = divisor;
    top_data[s.at(c)] = bottom[i + HALF] * inverse_power(divisor);
  }
}

// bottom_diff = top_diff / scale^beta - 2 alpha beta / local_size * bottom * sum around of ratio,
// ratio = top_diff bottom / scale^(beta + 1)
extern "C" __global__ void __launch_bounds__(256) lrn_across_backward(
    int blocks_of_pixels, const float* bottom_data, const float* scale, const float* top_diff, int channels,
    int height, int width, float* bottom_diff) {
  const Strip s(blocks_of_pixels, channels, height * width);
  float ratio[strip + local_size - 1], direct[strip + local_size - 1], bottom[strip + local_size - 1];
#pragma unroll UNROLL_STRIP
  for (int i = 0; i < strip + local_size - 1; ++i) {
    const int c = s.channel - HALF + i;
    const bool has = s.has(c);
    const float divisor = has ? scale[s.at(c)] : 1;
    bottom[i] = has ? bottom_data[s.at(c)] : 0;
    direct[i] = (has ? top_diff[s.at(c)] : 0) * inverse_power(divisor);
    ratio[i] = __fdividef(direct[i] * bottom[i], divisor);  // to 2 units in the last place
  }
#pragma unroll
  for (int i = 0; i < strip; ++i) {
    const int c = s.channel + i;
    if (!s.has(c)) break;
    const float sum = sum_around([&](int j) { return ratio[i + j]; });
    bottom_diff[s.at(c)] = direct[i + HALF] - 2 * ALPHA * beta * bottom[i + HALF] * sum;
  }
}

// The sum of value(i) over local_size x local_size pixels of the plane around (h, w), i a pixel's index in all planes.
template <class F>
__device__ __forceinline__ float sum_around(Position at, int height, int width, F value) {
  float sum = 0;
#pragma unroll UNROLL_SQUARE
  for (int i = 0; i < local_size; ++i) {
#pragma unroll UNROLL_SQUARE
    for (int j = 0; j < local_size; ++j) {
      const int h = at.h - HALF + i, w = at.w - HALF + j;
      const bool inside = unsigned(h) < unsigned(height) && unsigned(w) < unsigned(width);
      sum += inside ? value((at.plane * height + h) * width + w) : 0;
    }
  }
  return sum;
}

// scale = k + alpha / local_size^2 * sum of bottom^2 around; top = bottom / scale^beta
extern "C" __global__ void __launch_bounds__(256) lrn_within_forward(
    int planes, const float* bottom_data, int height, int width, float* scale, float* top_data) {
  const Position at = position();
  if (at.plane >= planes || at.h >= height || at.w >= width) return;
  const auto square = [&](int i) { return bottom_data[i] * bottom_data[i]; };
  const float divisor = k + ALPHA * sum_around(at, height, width, square);
  const int i = (at.plane * height + at.h) * width + at.w;
  scale[i] = divisor;
  top_data[i] = bottom_data[i] * inverse_power(divisor);
}

// ratio = top_diff bottom / scale^(beta + 1), kept in the workspace
extern "C" __global__ void __launch_bounds__(256) lrn_within_ratio(
    int count, const float* bottom_data, const float* scale, const float* top_diff, float* workspace) {
  FOR_EACH(i, count) workspace[i] = __fdividef(top_diff[i] * inverse_power(scale[i]) * bottom_data[i], scale[i]);
}

// bottom_diff = top_diff / scale^beta - 2 alpha beta / local_size^2 * bottom * sum around of ratio
extern "C" __global__ void __launch_bounds__(256) lrn_within_backward(
    int planes, const float* bottom_data, const float* scale, const float* top_diff, int height, int width,
    const float* workspace, float* bottom_diff) {
  const Position at = position();
  if (at.plane >= planes || at.h >= height || at.w >= width) return;
  const float sum = sum_around(at, height, width, [&](int i) { return workspace[i]; });
  const int i = (at.plane * height + at.h) * width + at.w;
  bottom_diff[i] = top_diff[i] * inverse_power(scale[i]) - 2 * ALPHA * beta * bottom_data[i] * sum;
}
