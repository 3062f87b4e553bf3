// InnerProduct, backward to the weights.     NumPy: caffepy/layers/common/inner_product.py
//
// Layout     bottom (num, inputs), top (num, outputs), weights (outputs, inputs) or transposed: (rows, columns).
// Launch, constants   inner_product.cuh; with few vectors, a block has `block_rows` rows of the weights, and of their
//            columns STREAM times right_vector
// Deterministic.
// Source     BVLC Caffe, inner_product_layer.cpp.
#include "inner_product.cuh"

// Terms are (m): left[m, row] * right[m, column].
__device__ __forceinline__ void add_tile(
    const float* left, const float* right, float* weight_diff, int num, int rows, int columns, int share) {
  const Tile tile(blockIdx.x, rows, columns);
  const Matrix<&Term::left> lefts = {left, 0, 1, rows};
  const Matrix<&Term::right> rights = {right, 0, 1, columns};
  const auto term = [=](int k) -> Term { return {k * rows, k * columns, k < num ? 0 : NOWHERE, 0}; };
  Sums sums;
  const int block = multiply<false>(
      term, operand<tile_m, left_vector, false>(lefts, tile.m), operand<tile_n, right_vector, false>(rights, tile.n),
      Share(num, share), sums);
  const auto add = [=](int row, int column, const float* values) {
    change<store_vector>(weight_diff + row * columns + column, values, [](float old, float sum) { return old + sum; });
  };
  hand_out<store_vector>(sums, Tile(block, rows, columns), rows, columns, [](int n) { return n; }, add);
}

// Each thread keeps its part of the few right vectors and goes down the rows.
__device__ __forceinline__ void add_few(
    const float* left, const float* right, float* weight_diff, int num, int rows, int columns) {
  const int blocks_across = (columns + STREAM * right_vector - 1) / (STREAM * right_vector);
  const int column = (int(blockIdx.x) % blocks_across * STREAM + int(threadIdx.x)) * right_vector;
  const int first_row = int(blockIdx.x) / blocks_across * block_rows;
  if (column >= columns) return;
  float factors[few == 0 ? 1 : few][right_vector];
#pragma unroll
  for (int m = 0; m < few; ++m) load(factors[m], right + min(m, num - 1) * columns + column);
#pragma unroll 4
  for (int row = first_row; row < min(first_row + block_rows, rows); ++row) {
    float sums[right_vector] = {};
#pragma unroll
    for (int m = 0; m < few; ++m) {
      const float factor = m < num ? left[m * rows + row] : 0;
#pragma unroll
      for (int v = 0; v < right_vector; ++v) sums[v] = fmaf(factor, factors[m][v], sums[v]);
    }
    change<right_vector>(
        weight_diff + row * columns + column, sums, [](float old, float sum) { return old + sum; });
  }
}

// weight_diff[o, i] += sum over m of top_diff[m, o] * bottom[m, i]
extern "C" __global__ void __launch_bounds__(threads, resident) inner_product_backward_weights(
    const float* __restrict__ bottom_data, const float* __restrict__ top_diff, float* __restrict__ weight_diff, int num,
    int rows, int columns, int share) {
  const float* const left = transpose ? bottom_data : top_diff;
  const float* const right = transpose ? top_diff : bottom_data;
  if constexpr (few == 0) add_tile(left, right, weight_diff, num, rows, columns, share);
  else add_few(left, right, weight_diff, num, rows, columns);
}
