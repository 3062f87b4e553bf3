// Convolution, backward to the bias.     NumPy: caffepy/layers/vision/convolution.py
//
// Layout     top_diff (num, outputs, inner); bias_diff (outputs). `count` outputs.
// Launch     a block of whole warps per output. Deterministic.
// Source     BVLC Caffe, base_conv_layer.cpp.
#include "channels.cuh"

// bias_diff[o] += sum over n, i of top_diff[n, o, i]
extern "C" __global__ void convolution_backward_bias(
    int count, const float* __restrict__ top_diff, int num, int inner, float* __restrict__ bias_diff) {
  const float sum = channel_sum(blockIdx.x, num, count, inner, [=](int at) { return top_diff[at]; });
  if (threadIdx.x == 0) bias_diff[blockIdx.x] += sum;
}
