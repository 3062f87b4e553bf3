// Embed, backward to the table.     NumPy: caffepy/layers/common/embed.py
//
// Layout     index (`count`), top_diff (count, num_output), weight_diff (input_dim, num_output).
// Launch     a block of whole warps per index. The first block of those with one index adds up for all of them, in
//            their order. Deterministic.
// Source     BVLC Caffe, embed_layer.cpp.
#include "indices.cuh"
#include "reduce.cuh"

__device__ __forceinline__ bool names(float index, int row) { return index > -1 && int(index) == row; }

// weight_diff[k] += sum of the top_diff[m] whose index[m] is k
extern "C" __global__ void embed_backward_weights(
    int count, const float* index_data, const float* top_diff, int input_dim, int num_output, float* weight_diff) {
  const int own = blockIdx.x;
  if (!is_class(index_data[own], input_dim)) return;
  const int row = int(index_data[own]);
  int first = own;
  for (int m = threadIdx.x; m < own; m += blockDim.x) {
    if (names(index_data[m], row)) first = min(first, m);
  }
  if (block_min(first) < own) return;
  for (int o = threadIdx.x; o < num_output; o += blockDim.x) {
    float sum = 0;
    for (int m = own; m < count; ++m) {
      if (names(index_data[m], row)) sum += top_diff[m * num_output + o];
    }
    weight_diff[row * num_output + o] += sum;
  }
}
