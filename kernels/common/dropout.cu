// Dropout while training.     NumPy: caffepy/layers/common/dropout.py
//
// Layout     equally large arrays of `count` floats; top may be bottom.
// Launch     1-D, any grid (grid-stride over groups of 8). Deterministic: the mask hangs on seed[0] and place alone.
// Constants  dropout_ratio, kept
// Source     Srivastava et al. 2014
#include "fours.cuh"
#include "philox.cuh"

// mask[i] = kept if u[i] >= dropout_ratio else 0; top = bottom * mask
extern "C" __global__ void dropout_forward(
    int count, const float* bottom_data, const int* seed, float* mask, float* top_data) {
  const bool in_fours = aligned(bottom_data, mask, top_data);
  FOR_EACH(group, (count + 7) / 8) {
    const Block block = philox(Word(group) + 1, Word(seed[0]));
    float factor[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) factor[j] = uniform(block, j) >= dropout_ratio ? kept : 0;
    if (in_fours && 8 * group + 8 <= count) {
#pragma unroll
      for (int four = 2 * group, j = 0; j < 8; ++four, j += 4) {
        const float4 factors = make_float4(factor[j], factor[j + 1], factor[j + 2], factor[j + 3]);
        ((float4*)top_data)[four] = ((const float4*)bottom_data)[four] * factors;
        ((float4*)mask)[four] = factors;
      }
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const int i = 8 * group + j;
        if (i >= count) break;
        top_data[i] = bottom_data[i] * factor[j];
        mask[i] = factor[j];
      }
    }
  }
}
