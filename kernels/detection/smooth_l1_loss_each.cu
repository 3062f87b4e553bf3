// SmoothL1LossOHEM: what each place adds.     NumPy: caffepy/layers/detection/ohem.py
//
// Layout     (num, channels, inner); losses (num, inner).
// Launch     1-D over `count` losses, any grid (grid-stride). Deterministic.
// Source     Dai et al. 2016 (R-FCN), smooth_L1_loss_ohem_layer.cu.
#include "common.cuh"

// losses[n, i] = sum over c of f(weight * (first - second)); f(x) = x^2 / 2 where |x| < 1, else |x| - 1 / 2
extern "C" __global__ void smooth_l1_loss_each(
    int count, const float* first_data, const float* second_data, const float* weight_data, int num, int channels,
    int inner, float* losses) {
  FOR_EACH(i, count) {
    const int n = unsigned(i) / unsigned(inner);
    float sum = 0;
    for (int c = 0; c < channels; ++c) {
      const int at = (n * channels + c) * inner + i - n * inner;
      const float difference = first_data[at] - second_data[at];
      const float x = weight_data ? weight_data[at] * difference : difference, size = fabsf(x);
      sum += size < 1 ? 0.5f * x * x : size - 0.5f;
    }
    losses[i] = sum;
  }
}
