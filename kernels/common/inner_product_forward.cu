// InnerProduct, forward.     NumPy: caffepy/layers/common/inner_product.py
//
// Layout     bottom (num, inputs), top (num, outputs), weights (outputs, inputs) or transposed.
// Launch, constants   inner_product.cuh; where the terms are split into parts, their sum follows
// Deterministic.
// Source     BVLC Caffe, inner_product_layer.cpp.
#include "inner_product.cuh"
#include "rectified.cuh"

// top[m, o] = rectified(bias[o] + sum over i of weight[o, i] * bottom[m, i])
extern "C" __global__ void __launch_bounds__(threads, resident) inner_product_forward(
    const float* __restrict__ bottom_data, const Weight* __restrict__ weight_data, const float* __restrict__ bias_data,
    float* __restrict__ workspace, float* __restrict__ top_data, int num, int inputs, int outputs, int share,
    int parts_step) {
  constexpr int vector = stored<!transpose>;
  const bool whole = gridDim.y == 1;
  float* const to = whole ? top_data : workspace + int(blockIdx.y) * parts_step;
  const auto put = [=](int m, int output, const float* sums) {
    float results[vector];
#pragma unroll
    for (int v = 0; v < vector; ++v) {
      const float bias = bias_data != nullptr ? bias_data[output + v] : 0;
      results[v] = whole ? rectified(sums[v] + bias) : sums[v];
    }
    change<vector>(to + m * outputs + output, results, [](float, float result) { return result; });
  };
  times_matrix<!transpose>(bottom_data, weight_data, num, inputs, outputs, share, put);
}

// top = rectified(bias + the sum of its parts)
extern "C" __global__ void inner_product_forward_sum(
    int count, const float* __restrict__ bias_data, const float* __restrict__ workspace, float* __restrict__ top_data,
    int outputs, int number) {
  FOR_EACH(i, count) {
    const float bias = bias_data != nullptr ? bias_data[i % outputs] : 0;
    top_data[i] = rectified(bias + sum_of_parts(workspace, number, count, i));
  }
}
