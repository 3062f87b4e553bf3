// ChannelNorm.     NumPy: caffepy/layers/flow/channel_norm.py
//
// Layout     bottom (num, channels, inner), top (num, inner).
// Launch     1-D over `count` elements of what is written, any grid (grid-stride). Deterministic: channels in order.
// Source     Ilg et al. 2017 (FlowNet 2.0), channel_norm_layer.cu.
#include "common.cuh"

// top[n, i] = sqrt(sum over c of bottom[n, c, i]^2)
extern "C" __global__ void channel_norm_forward(
    int count, const float* bottom_data, int channels, int inner, float* top_data) {
  FOR_EACH(t, count) {
    const int n = unsigned(t) / unsigned(inner);
    const float* const column = bottom_data + n * channels * inner + (t - n * inner);
    float sum = 0;
    for (int c = 0; c < channels; ++c) sum += column[c * inner] * column[c * inner];
    top_data[t] = sqrtf(sum);
  }
}

// bottom_diff[n, c, i] = top_diff[n, i] * bottom[n, c, i] / (top[n, i] + 1e-9)
extern "C" __global__ void channel_norm_backward(
    int count, const float* bottom_data, const float* top_data, const float* top_diff, int channels, int inner,
    float* bottom_diff) {
  FOR_EACH(b, count) {
    const int n = unsigned(b) / unsigned(channels * inner), t = n * inner + unsigned(b) % unsigned(inner);
    bottom_diff[b] = bottom_data[b] * (top_diff[t] / (top_data[t] + 1e-9f));
  }
}
