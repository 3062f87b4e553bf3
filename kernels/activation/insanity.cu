// Insanity: a leaky ReLU with random slopes.     NumPy: caffepy/layers/activation/insanity.py
//
// Layout     equally large arrays of `count` floats; top may be bottom.
// Launch     1-D, any grid (grid-stride over groups of 8). Deterministic: factors hang on seed[0] and place alone.
// Constants  smallest, largest
// Source     Xu et al. 2015
#include "common.cuh"
#include "philox.cuh"

// factor[i] = 1 if bottom[i] > 0 else 1 / (smallest + (largest - smallest) * u[i]); top = bottom * factor
extern "C" __global__ void insanity_forward(
    int count, const float* bottom_data, const int* seed, float* factor, float* top_data) {
  FOR_EACH(group, (count + 7) / 8) {
    Block block = {};
    if (seed) block = philox(Word(group) + 1, Word(seed[0]));
    const float mean = logf(largest / smallest) / (largest - smallest);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int i = 8 * group + j;
      if (i >= count) break;
      const float x = bottom_data[i];
      const float below = seed ? 1 / (uniform(block, j) * (largest - smallest) + smallest) : mean;
      factor[i] = x > 0 ? 1 : below;
      top_data[i] = x * factor[i];
    }
  }
}
