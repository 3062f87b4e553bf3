// One step of RNN.     NumPy: caffepy/layers/recurrent/rnn.py
//
// Layout     sums and hidden values (N, num_output); cont (N).
// Launch     1-D over `count` = N * num_output elements, any grid (grid-stride). Deterministic.
// Source     BVLC Caffe, rnn_layer.cpp.
#include "common.cuh"

// hidden = tanh(sums + hidden_sums + static_sums), before_next = cont_next * hidden
extern "C" __global__ void rnn_unit_forward(
    int count, const float* sums, const float* hidden_sums, const float* static_sums, const float* cont_next,
    int num_output, float* hidden, float* before_next) {
  FOR_EACH(at, count) {
    const float sum = sums[at] + hidden_sums[at], h = tanhf(static_sums ? sum + static_sums[at] : sum);
    hidden[at] = h;
    if (before_next) before_next[at] = cont_next[unsigned(at) / unsigned(num_output)] * h;
  }
}

// sums_diff = (hidden_diff + cont_next * before_next_diff) * (1 - hidden^2)
extern "C" __global__ void rnn_unit_backward(
    int count, const float* hidden, const float* cont_next, const float* hidden_diff, const float* before_next_diff,
    int num_output, float* sums_diff) {
  FOR_EACH(at, count) {
    const float h = hidden[at];
    float dh = hidden_diff[at];
    if (before_next_diff) dh += cont_next[unsigned(at) / unsigned(num_output)] * before_next_diff[at];
    sums_diff[at] = dh * (1 - h * h);
  }
}
