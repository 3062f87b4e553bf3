// InnerProduct's products: vectors times the weights, whichever way these lie.
//
// Layout     vectors (num, terms); matrix (columns, terms), by rows, or (terms, columns); results (num, columns)
// Constants  few                  vectors that are computed together, at least num; 0 for tiles. With few vectors the
//                                 matrix is streamed: reading it once is all the time there is.
//            block_rows           rows of the matrix that a block has, where few vectors meet its rows
//            transpose            the weights are (inputs, outputs)
//            left_vector, right_vector, store_vector   floats of vectors, of the matrix and of results that are read or
//                                 written at once: 4, or 1 where rows are no multiples of 4
//            and those of gemm.cuh
// Launch     caffepy/layers/common/inner_product_plan.py; blocks of one blockIdx.y have a share of the terms
// Deterministic: sums are made in an order that the launch decides.
#pragma once
#include "gemm.cuh"

constexpr int STREAM = 128;      // threads of a block that streams
constexpr int STAGED_TERMS = 64;  // terms of the vectors that are in shared memory at a time

template <int vector, class T>
__device__ __forceinline__ void load(float (&values)[vector], const T* from) {
  if constexpr (vector == 4) {
    const float4 four = four_at(from);
    values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
  } else {
    values[0] = widened(*from);
  }
}

// Tiles of the result.
template <bool by_rows, class Put>
__device__ __forceinline__ void multiply_tile(
    const float* vectors, const Weight* matrix, int num, int terms, int columns, int slabs, const Put& put) {
  const Tile tile(blockIdx.x, num, columns);
  const Matrix<&Term::left> left = {vectors, 0, terms, num};
  const Matrix<&Term::right, Weight> right = {matrix, 0, by_rows ? terms : 1, columns};
  const auto term = [=](int k) -> Term { return {k, by_rows ? k : k * columns, k < terms ? 0 : NOWHERE, 0}; };
  Sums sums;
  const int block = multiply<false>(
      term, operand<tile_m, left_vector, true>(left, tile.m), operand<tile_n, right_vector, by_rows>(right, tile.n),
      Share(terms, slabs), sums);
  hand_out<store_vector>(sums, Tile(block, num, columns), num, columns, [](int n) { return n; }, put);
}

// Rows of the matrix, `block_rows` a block, whose threads go along them.
template <class Put>
__device__ __forceinline__ void stream_rows(
    const float* vectors, const Weight* matrix, int num, int terms, int columns, const Put& put) {
  __shared__ float of_warp[STREAM / 32][block_rows * few];
  const int first = int(blockIdx.x) * block_rows;
  float sums[block_rows][few] = {};
#pragma unroll 2
  for (int k = int(threadIdx.x) * right_vector; k < terms; k += STREAM * right_vector) {
    float rows[block_rows][right_vector];
#pragma unroll
    for (int r = 0; r < block_rows; ++r) load(rows[r], matrix + min(first + r, columns - 1) * terms + k);
#pragma unroll
    for (int i = 0; i < few; ++i) {
      float factors[right_vector];
      load(factors, vectors + min(i, num - 1) * terms + k);
#pragma unroll
      for (int r = 0; r < block_rows; ++r)
#pragma unroll
        for (int v = 0; v < right_vector; ++v) sums[r][i] = fmaf(rows[r][v], factors[v], sums[r][i]);
    }
  }
#pragma unroll
  for (int r = 0; r < block_rows; ++r)
#pragma unroll
    for (int i = 0; i < few; ++i) {
      float sum = sums[r][i];
      for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
      if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32][r * few + i] = sum;
    }
  __syncthreads();
  for (int at = threadIdx.x; at < block_rows * few; at += STREAM) {
    const int row = first + at / few, i = at % few;
    float sum = of_warp[0][at];
    for (int warp = 1; warp < STREAM / 32; ++warp) sum += of_warp[warp][at];
    if (row < columns && i < num) put(i, row, &sum);
  }
}

// Columns of the matrix, `right_vector` a thread, over `share` of its rows.
template <class Put>
__device__ __forceinline__ void stream_columns(
    const float* vectors, const Weight* matrix, int num, int terms, int columns, int share, const Put& put) {
  __shared__ float factors[STAGED_TERMS][few];
  const int column = int(blockIdx.x * STREAM + threadIdx.x) * right_vector;
  const int last = min((int(blockIdx.y) + 1) * share, terms);
  float sums[few][right_vector] = {};
  for (int first = int(blockIdx.y) * share; first < last; first += STAGED_TERMS) {
    for (int at = threadIdx.x; at < STAGED_TERMS * few; at += STREAM) {
      const int k = first + at % STAGED_TERMS, i = at / STAGED_TERMS;
      factors[at % STAGED_TERMS][i] = k < last && i < num ? vectors[i * terms + k] : 0;
    }
    __syncthreads();
    const int staged = column < columns ? min(STAGED_TERMS, last - first) : 0;
#pragma unroll 8
    for (int k = 0; k < staged; ++k) {
      float row[right_vector];
      load(row, matrix + (first + k) * columns + column);
#pragma unroll
      for (int i = 0; i < few; ++i)
#pragma unroll
        for (int v = 0; v < right_vector; ++v) sums[i][v] = fmaf(row[v], factors[k][i], sums[i][v]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < few; ++i)
    if (i < num && column < columns) put(i, column, sums[i]);
}

// put(i, n, values): for neighbours from n on, the sums over the block's share of k of vectors[i, k] * matrix[n, k], by
// rows, or matrix[k, n]; `stored` of them at once.
template <bool by_rows, class Put>
__device__ __forceinline__ void times_matrix(
    const float* vectors, const Weight* matrix, int num, int terms, int columns, int share, const Put& put) {
  if constexpr (few == 0) multiply_tile<by_rows>(vectors, matrix, num, terms, columns, share, put);
  else if constexpr (by_rows) stream_rows(vectors, matrix, num, terms, columns, put);
  else stream_columns(vectors, matrix, num, terms, columns, share, put);
}
template <bool by_rows>
constexpr int stored = few == 0 ? store_vector : by_rows ? 1 : right_vector;
