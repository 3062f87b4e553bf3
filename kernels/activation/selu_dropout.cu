// SeLuDropout while training.     NumPy: caffepy/layers/activation/selu.py
//
// Layout     equally large arrays of `count` floats; top may be bottom.
// Launch     1-D, any grid (grid-stride over groups of 8). Deterministic: the mask hangs on seed[0] and place alone.
// Constants  dropout_ratio, scale, shift, dropped
// Source     Klambauer et al. 2017
#include "common.cuh"
#include "philox.cuh"

// mask[i] = scale if u[i] >= dropout_ratio else 0; top = bottom * scale + shift where it is not 0, else dropped
extern "C" __global__ void selu_dropout_forward(
    int count, const float* bottom_data, const int* seed, float* mask, float* top_data) {
  FOR_EACH(group, (count + 7) / 8) {
    const Block block = philox(Word(group) + 1, Word(seed[0]));
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int i = 8 * group + j;
      if (i >= count) break;
      const bool kept = uniform(block, j) >= dropout_ratio;
      top_data[i] = kept ? bottom_data[i] * scale + shift : dropped;
      mask[i] = kept ? scale : 0;
    }
  }
}
