// PReLU.     NumPy: caffepy/layers/activation/prelu.py
//
// Layout     (num, channels, inner); slope (channels).
// Launch     prelu_parts: a block of whole warps per share of a channel, `count` shares; prelu_backward_weights: one per
//            channel; the others: 1-D over `count` elements, any grid (grid-stride), four at a time where `inner` and the
//            arrays allow it. Deterministic.
// Source     He et al. 2015; BVLC Caffe, prelu_layer.cpp. A NaN stays one.
#include "channels.cuh"
#include "fours.cuh"
#include "parts.cuh"

__device__ __forceinline__ float sloped(float x, float slope) { return x < 0 ? slope * x : x; }
__device__ __forceinline__ float4 sloped(float4 x, float slope) {
  return make_float4(sloped(x.x, slope), sloped(x.y, slope), sloped(x.z, slope), sloped(x.w, slope));
}

__device__ __forceinline__ float factor_of(float x, float slope) { return x > 0 ? 1 : slope; }
__device__ __forceinline__ float4 factor_of(float4 x, float slope) {
  return make_float4(factor_of(x.x, slope), factor_of(x.y, slope), factor_of(x.z, slope), factor_of(x.w, slope));
}

template <class T>
__device__ __forceinline__ void forward_of(
    int count, const T* x, const float* slope, int channels, int inner, T* kept, T* y) {
  FOR_EACH(i, count) {
    const T value = x[i];
    if (kept) kept[i] = value;
    y[i] = sloped(value, slope[channel_of(i, channels, inner)]);
  }
}

template <class T>
__device__ __forceinline__ void backward_of(
    int count, const T* x, const T* dy, const float* slope, int channels, int inner, T* dx) {
  FOR_EACH(i, count) dx[i] = dy[i] * factor_of(x[i], slope[channel_of(i, channels, inner)]);
}

// kept = bottom; top[n, c, i] = max(bottom[n, c, i], 0) + slope[c] * min(bottom[n, c, i], 0); top may be bottom
extern "C" __global__ void prelu_forward(
    int count, const float* bottom_data, const float* slope_data, int num, int channels, int inner, float* kept,
    float* top_data) {
  if (inner % 4 == 0 && aligned(bottom_data, kept, top_data)) {
    forward_of(count / 4, (const float4*)bottom_data, slope_data, channels, inner / 4, (float4*)kept,
               (float4*)top_data);
  } else {
    forward_of(count, bottom_data, slope_data, channels, inner, kept, top_data);
  }
}

// bottom_diff[n, c, i] = top_diff[n, c, i] * (1 if bottom[n, c, i] > 0 else slope[c])
extern "C" __global__ void prelu_backward(
    int count, const float* bottom_data, const float* top_diff, const float* slope_data, int num, int channels,
    int inner, float* bottom_diff) {
  if (inner % 4 == 0 && aligned(bottom_data, top_diff, bottom_diff)) {
    backward_of(count / 4, (const float4*)bottom_data, (const float4*)top_diff, slope_data, channels, inner / 4,
                (float4*)bottom_diff);
  } else {
    backward_of(count, bottom_data, top_diff, slope_data, channels, inner, bottom_diff);
  }
}

// workspace[c, s] = sum over the s-th of `shares` shares of the n, i of top_diff[n, c, i] * min(bottom[n, c, i], 0)
extern "C" __global__ void prelu_parts(
    int count, const float* bottom_data, const float* top_diff, int num, int channels, int inner, float* workspace,
    int shares) {
  const int channel = blockIdx.x / shares;
  const float sum = share_sum(blockIdx.x % shares, shares, num * inner, [=](int k) {
    const int n = unsigned(k) / unsigned(inner), at = k + (n * (channels - 1) + channel) * inner;
    const float x = bottom_data[at];
    return x > 0 ? 0 : x * top_diff[at];
  });
  if (threadIdx.x == 0) workspace[blockIdx.x] = sum;
}

// slope_diff[c] += sum over s of workspace[c, s]
extern "C" __global__ void prelu_backward_weights(
    int count, const float* workspace, float* slope_diff, int shares) {
  const float sum = parts_sum(workspace, blockIdx.x, shares);
  if (threadIdx.x == 0) slope_diff[blockIdx.x] += sum;
}
