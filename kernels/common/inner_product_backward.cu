// InnerProduct, backward to the bottom.     NumPy: caffepy/layers/common/inner_product.py
//
// Layout     bottom (num, inputs), top (num, outputs), weights (outputs, inputs) or transposed.
// Launch, constants   inner_product.cuh; where the terms are split into parts, their sum follows
// Deterministic.
// Source     BVLC Caffe, inner_product_layer.cpp.
#include "inner_product.cuh"

// bottom_diff[m, i] = sum over o of weight[o, i] * top_diff[m, o]
extern "C" __global__ void __launch_bounds__(threads, resident) inner_product_backward(
    const float* __restrict__ top_diff, const Weight* __restrict__ weight_data, float* __restrict__ workspace,
    float* __restrict__ bottom_diff, int num, int inputs, int outputs, int share, int parts_step) {
  float* const to = gridDim.y == 1 ? bottom_diff : workspace + int(blockIdx.y) * parts_step;
  const auto put = [=](int m, int input, const float* sums) {
    change<stored<transpose>>(to + m * inputs + input, sums, [](float, float sum) { return sum; });
  };
  times_matrix<transpose>(top_diff, weight_data, num, outputs, inputs, share, put);
}

// bottom_diff = the sum of its parts
extern "C" __global__ void inner_product_backward_sum(
    int count, const float* __restrict__ workspace, float* __restrict__ bottom_diff, int number) {
  FOR_EACH(i, count) bottom_diff[i] = sum_of_parts(workspace, number, count, i);
}
