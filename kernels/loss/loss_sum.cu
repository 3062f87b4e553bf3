// The last step of a loss.     NumPy: caffepy/layers/loss/loss.py
//
// Layout     `count` partial sums, kernels/parts.cuh.
// Launch     one block of whole warps. Deterministic.
// Source     BVLC Caffe's loss layers.
#include "reduce.cuh"

// top = sum of parts / (divisor * normalizer[0]), without a normalizer / divisor
extern "C" __global__ void loss_sum(
    int count, const float* parts, const float* normalizer, float divisor, float* top_data) {
  float sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) top_data[0] = sum / (normalizer ? divisor * normalizer[0] : divisor);
}
