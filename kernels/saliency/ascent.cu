// Steps of gradient ascent on an image.                              NumPy: caffepy/saliency/synthesis/operations.py
//
// Layout     images (num, channels, height, width), `count` elements of what is written.
// Launch     mean_size and gram_forward: a block per element of what is written; the others: 1-D, any grid.
// Source     Simonyan, Vedaldi & Zisserman 2013, section 2; Gatys, Ecker & Bethge 2015 (gram_forward).
#include "common.cuh"
#include "reduce.cuh"

// rolled[p, y, x] = image[p, y - down, x - right], around the edges
extern "C" __global__ void rolled_forward(
    int count, const float* __restrict__ image, int height, int width, int down, int right,
    float* __restrict__ rolled) {
  FOR_EACH(i, count) {
    const int y = ((i / width % height - down) % height + height) % height;
    const int x = ((i % width - right) % width + width) % width;
    rolled[i] = image[(i / (height * width) * height + y) * width + x];
  }
}

// size[n] = mean over i of |values[n, i]|
extern "C" __global__ void mean_size(
    int count, const float* __restrict__ values, int inner, float* __restrict__ size) {
  float sum = 0;
  for (int i = threadIdx.x; i < inner; i += blockDim.x) sum += fabsf(values[blockIdx.x * inner + i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) size[blockIdx.x] = sum / inner;
}

// next = image + rate * (gradient / size - smoothing * the sum of what it is above its neighbours) - decay * image;
// a size of 0 divides by 1
extern "C" __global__ void ascend_forward(
    int count, const float* __restrict__ image, const float* __restrict__ gradient, const float* __restrict__ size,
    float rate, float smoothing, float decay, int height, int width, float* __restrict__ next) {
  FOR_EACH(i, count) {
    const float here = image[i], by = size[0] > 0 ? size[0] : 1;
    const int y = i / width % height, x = i % width;
    float rough = 0;
    if (y > 0) rough += here - image[i - width];
    if (y < height - 1) rough += here - image[i + width];
    if (x > 0) rough += here - image[i - 1];
    if (x < width - 1) rough += here - image[i + 1];
    next[i] = here + rate * (gradient[i] / by - smoothing * rough) - decay * here;
  }
}

// values[n, c, i] = no less than low[c], no more than high[c]
extern "C" __global__ void clip_channels(
    int count, const float* __restrict__ low, const float* __restrict__ high, int channels, int inner,
    float* __restrict__ values) {
  FOR_EACH(i, count) {
    const int c = i / inner % channels;
    values[i] = fminf(fmaxf(values[i], low[c]), high[c]);
  }
}

// gram[a, b] = mean over i of values[a, i] * values[b, i]
extern "C" __global__ void gram_forward(
    int count, const float* __restrict__ values, int channels, int inner, float* __restrict__ gram) {
  const float* const first = values + blockIdx.x / channels * inner;
  const float* const second = values + blockIdx.x % channels * inner;
  float sum = 0;
  for (int i = threadIdx.x; i < inner; i += blockDim.x) sum += first[i] * second[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) gram[blockIdx.x] = sum / inner;
}
