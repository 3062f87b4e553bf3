// InnerProduct, backward to the bias.     NumPy: caffepy/layers/common/inner_product.py
//
// Layout     top_diff (num, outputs); bias_diff (outputs)
// Launch     blocks of (32, LINES): a thread sums up every LINES-th row of a column. Deterministic.
// Source     BVLC Caffe, inner_product_layer.cpp.

constexpr int LINES = 8;

// bias_diff[o] += sum over m of top_diff[m, o]
extern "C" __global__ void __launch_bounds__(32 * LINES) inner_product_backward_bias(
    const float* __restrict__ top_diff, int num, int outputs, float* __restrict__ bias_diff) {
  __shared__ float of_line[LINES][32];
  const int output = int(blockIdx.x) * 32 + int(threadIdx.x);
  float sum = 0;
  if (output < outputs) {
#pragma unroll 4
    for (int m = threadIdx.y; m < num; m += LINES) sum += top_diff[m * outputs + output];
  }
  of_line[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || output >= outputs) return;
  for (int line = 1; line < LINES; ++line) sum += of_line[line][threadIdx.x];
  bias_diff[output] += sum;
}
