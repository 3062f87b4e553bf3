// One step of LSTM.     NumPy: caffepy/layers/recurrent/lstm.py
//
// Layout     sums, gates (N, 4, num_output): i, f, o, g; cells and hidden values (N, num_output); cont (N).
// Launch     1-D over `count` = N * num_output elements, any grid (grid-stride). Deterministic.
// Source     Hochreiter & Schmidhuber 1997; BVLC Caffe, lstm_unit_layer.cpp.
#include "common.cuh"

__device__ __forceinline__ float sigmoid(float x) { return 0.5f * tanhf(0.5f * x) + 0.5f; }

// gates = sigmoid of i, f and o, and tanh of g, of the three sums together; cell = cont * f * cell_before + i * g,
// hidden = o * tanh(cell), before_next = cont_next * hidden; gates may be sums
extern "C" __global__ void lstm_unit_forward(
    int count, const float* sums, const float* hidden_sums, const float* static_sums, const float* cont,
    const float* cont_next, const float* cell_before, int num_output, float* gates, float* cell, float* hidden,
    float* before_next) {
  FOR_EACH(at, count) {
    const int n = unsigned(at) / unsigned(num_output), first = at + 3 * n * num_output;
    float gate[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int of_gate = first + k * num_output;
      float sum = sums[of_gate];
      if (hidden_sums) sum += hidden_sums[of_gate];
      if (static_sums) sum += static_sums[of_gate];
      gate[k] = k < 3 ? sigmoid(sum) : tanhf(sum);
      gates[of_gate] = gate[k];
    }
    const float c = cont[n] * gate[1] * cell_before[at] + gate[0] * gate[3], h = gate[2] * tanhf(c);
    cell[at] = c;
    hidden[at] = h;
    if (before_next) before_next[at] = cont_next[n] * h;
  }
}

// The diffs of the sums and of cell_before, given those of hidden, of before_next and of cell, 0 where missing;
// cell_before_diff may be cell_diff
extern "C" __global__ void lstm_unit_backward(
    int count, const float* gates, const float* cont, const float* cont_next, const float* cell_before,
    const float* cell, const float* hidden_diff, const float* before_next_diff, const float* cell_diff, int num_output,
    float* sums_diff, float* cell_before_diff) {
  FOR_EACH(at, count) {
    const int n = unsigned(at) / unsigned(num_output), first = at + 3 * n * num_output;
    const float i = gates[first], f = gates[first + num_output], o = gates[first + 2 * num_output],
                g = gates[first + 3 * num_output];
    const float squashed = tanhf(cell[at]);
    float dh = hidden_diff[at];
    if (before_next_diff) dh += cont_next[n] * before_next_diff[at];
    float dc = dh * o * (1 - squashed * squashed);
    if (cell_diff) dc += cell_diff[at];
    if (sums_diff) {
      sums_diff[first] = dc * g * i * (1 - i);
      sums_diff[first + num_output] = dc * cell_before[at] * cont[n] * f * (1 - f);
      sums_diff[first + 2 * num_output] = dh * squashed * o * (1 - o);
      sums_diff[first + 3 * num_output] = dc * i * (1 - g * g);
    }
    if (cell_before_diff) cell_before_diff[at] = dc * (cont[n] * f);
  }
}
