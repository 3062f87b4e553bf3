// Scale and Bias, the derivatives by the scale and by the bias.     NumPy: caffepy/layers/common/scale.py
//
// Layout     (outer, channels, inner); scale, bias (channels). `count` channels.
// Launch     a block of whole warps per channel. Deterministic.
// Constants  accumulate
// Source     BVLC Caffe, scale_layer.cpp and bias_layer.cpp.
#include "channels.cuh"

// scale_diff[c] = (scale_diff[c] if accumulate else 0) + sum over o, i of bottom[o, c, i] * top_diff[o, c, i]
extern "C" __global__ void scale_backward_weights(
    int count, const float* bottom_data, const float* top_diff, int outer, int channels, int inner,
    float* scale_diff) {
  const float sum =
      channel_sum(blockIdx.x, outer, channels, inner, [=](int at) { return bottom_data[at] * top_diff[at]; });
  if (threadIdx.x == 0) scale_diff[blockIdx.x] = accumulate ? scale_diff[blockIdx.x] + sum : sum;
}

// bias_diff[c] = (bias_diff[c] if accumulate else 0) + sum over o, i of top_diff[o, c, i]
extern "C" __global__ void bias_backward_weights(
    int count, const float* top_diff, int outer, int channels, int inner, float* bias_diff) {
  const float sum = channel_sum(blockIdx.x, outer, channels, inner, [=](int at) { return top_diff[at]; });
  if (threadIdx.x == 0) bias_diff[blockIdx.x] = accumulate ? bias_diff[blockIdx.x] + sum : sum;
}
