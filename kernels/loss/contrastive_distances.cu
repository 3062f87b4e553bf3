// ContrastiveLoss, the distances.     NumPy: caffepy/layers/loss/contrastive_loss.py
//
// Layout     (num, channels).
// Launch     a block of whole warps per pair, `count` of them. Deterministic.
// Source     BVLC Caffe, contrastive_loss_layer.cpp.
#include "reduce.cuh"

// squared[n] = sum over c of (first[n, c] - second[n, c])^2
extern "C" __global__ void contrastive_distances(
    int count, const float* first_data, const float* second_data, int channels, float* squared) {
  const int start = int(blockIdx.x) * channels;
  float sum = 0;
  for (int c = threadIdx.x; c < channels; c += blockDim.x) {
    const float difference = first_data[start + c] - second_data[start + c];
    sum += difference * difference;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) squared[blockIdx.x] = sum;
}
