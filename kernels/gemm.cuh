// One block's tile of a matrix product: sum(m, n) = sum over k of left(m, k) * right(k, n).
//
// The block walks along k slab by slab. While it multiplies one slab out of shared memory, the next one is on its way
// from global memory to registers; two slabs of shared memory take turns, so that one barrier a slab is enough.
//
// Constants  tile_m, tile_n, tile_k    the tile, and how many terms a slab has
//            thread_m, thread_n        the part of it that a thread sums up, in chunks of four rows and four columns
//            resident                  how many blocks a multiprocessor must have registers for
// Alignment  where 4 floats are read or written at once, arrays begin at multiples of 16 bytes.
// Deterministic: a sum is made in the order of k.
#pragma once
#include "common.cuh"

constexpr int threads_m = tile_m / thread_m, threads_n = tile_n / thread_n, threads = threads_m * threads_n;
// A warp is a rectangle of threads: the fewer different rows and columns it reads, the less shared memory is asked.
constexpr int lanes_m = threads_m < 4 ? threads_m : 4, lanes_n = 32 / lanes_m, warps_m = threads_m / lanes_m;
static_assert(threads_m % lanes_m == 0 && threads_n % lanes_n == 0, "a tile is made of whole warps");

constexpr int NOWHERE = 1 << 29;  // a coordinate outside of any image, whatever is added to it

// A term of the sum, k: what the operands add to their lines to find their factor of it.
struct __align__(16) Term {
  int left, right;  // offsets in memory
  int y, x;         // a pixel; y is NOWHERE behind the last term
};

// A row of the left operand, or a column of the right one.
struct Line {
  int offset, y, x;
};

// An operand that is a matrix in memory.
template <int Term::*offset_of>
struct Matrix {
  const float* data;
  int first, step, extent;

  __device__ __forceinline__ Line line(int i) const { return {first + i * step, 0, 0}; }
  __device__ __forceinline__ int offset(const Term& term) const { return term.*offset_of; }
  __device__ __forceinline__ bool sees(const Line&, const Term& term) const { return term.y != NOWHERE; }
};

// Moves an operand's slabs from global to shared memory: `side` of its lines, `vector` floats at once, which are
// neighbours along k or among the lines.
//
// Source     data; extent, how many lines there are; line(i); offset(term); sees(line, term), false where the factor is
//            0 and not in memory
template <class Source, int side, int vector, bool along_k>
class Operand {
  // Threads lie side by side along what neighbours in memory are, `across` pieces wide, and go on in rounds.
  static constexpr int across = (along_k ? tile_k : side) / vector, down = along_k ? side : tile_k;
  static constexpr int step = across < threads ? threads / across : 1;
  static constexpr int times = across < threads ? 1 : across / threads;  // rounds for a thread to get across
  static constexpr int rounds = (down + step - 1) / step * times, lines = along_k ? rounds : times;
  static_assert(across < threads ? threads % across == 0 : across % threads == 0, "threads keep to their lines");

  const Source source;
  Line line[lines];
  float staged[rounds][vector];

  static __device__ __forceinline__ int along(int round) {
    return (int(threadIdx.x % across) + round % times * threads) * vector;
  }
  static __device__ __forceinline__ int beside(int round) { return int(threadIdx.x / across) + round / times * step; }
  static __device__ __forceinline__ int k(int round) { return along_k ? along(round) : beside(round); }
  static __device__ __forceinline__ int i(int round) { return along_k ? beside(round) : along(round); }
  static __device__ __forceinline__ bool exists(int round) { return down % step == 0 || beside(round) < down; }

 public:
  // For the lines from `first` on. Those beyond the operand's last are read as the last, for sums that nobody takes.
  __device__ __forceinline__ Operand(const Source& source, int first) : source(source) {
#pragma unroll
    for (int l = 0; l < lines; ++l) line[l] = source.line(min(first + i(l), source.extent - (along_k ? 1 : vector)));
  }

  // From global memory to registers; terms(k) is term number k of the slab.
  template <class Terms>
  __device__ __forceinline__ void fetch(const Terms& terms) {
#pragma unroll
    for (int round = 0; round < rounds; ++round) {
      if (!exists(round)) continue;
      const Term term = terms(k(round));
      const Line& at = line[round % lines];
      const bool seen = source.sees(at, term);
      const float* const from = source.data + (at.offset + source.offset(term));
      float(&to)[vector] = staged[round];
      if constexpr (vector == 4) {
        const float4 four = seen ? *reinterpret_cast<const float4*>(from) : make_float4(0, 0, 0, 0);
        to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
      } else {
        to[0] = seen ? *from : 0;
      }
    }
  }

  // From registers to shared memory.
  __device__ __forceinline__ void store(float (*slab)[side + 4]) const {
#pragma unroll
    for (int round = 0; round < rounds; ++round) {
      if (!exists(round)) continue;
      const float(&from)[vector] = staged[round];
      float* const to = &slab[k(round)][i(round)];
      if constexpr (vector == 4 && !along_k) {
        *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
      } else {
#pragma unroll
        for (int v = 0; v < vector; ++v) to[v * (side + 4)] = from[v];
      }
    }
  }
};

template <int side, int vector, bool along_k, class Source>
__device__ __forceinline__ Operand<Source, side, vector, along_k> operand(const Source& source, int first) {
  return {source, first};
}

// The sums of a thread: of[i][j] is in row(i) and column(j) of the tile.
class Sums {
  template <int thread, int threads_across>
  static __device__ __forceinline__ int place(int i, int thread_number) {
    constexpr int chunk = thread % 4 == 0 ? 4 : thread;
    return i / chunk * (threads_across * chunk) + thread_number * chunk + i % chunk;
  }

 public:
  float of[thread_m][thread_n];

  static __device__ __forceinline__ int row(int i) {
    return place<thread_m, threads_m>(i, threadIdx.x / 32 % warps_m * lanes_m + threadIdx.x % 32 / lanes_n);
  }
  static __device__ __forceinline__ int column(int j) {
    return place<thread_n, threads_n>(j, threadIdx.x / 32 / warps_m * lanes_n + threadIdx.x % 32 % lanes_n);
  }
};

// values[i] = line[at(i)]; where there are at least four, each four at(i) are neighbours.
template <int count, class At>
__device__ __forceinline__ void load(float (&values)[count], const float* line, const At& at) {
#pragma unroll
  for (int i = 0; i < count; i += count % 4 == 0 ? 4 : 1) {
    if constexpr (count % 4 == 0) {
      const float4 four = *reinterpret_cast<const float4*>(line + at(i));
      values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
    } else {
      values[i] = line[at(i)];
    }
  }
}

// Which tile of which product a block computes. Blocks that read the same columns follow each other.
struct Tile {
  int m, n, product;

  __device__ __forceinline__ Tile(int block, int rows, int columns) {
    const int tiles_m = (rows + tile_m - 1) / tile_m, tiles_n = (columns + tile_n - 1) / tile_n;
    m = block % tiles_m * tile_m;
    n = block / tiles_m % tiles_n * tile_n;
    product = block / tiles_m / tiles_n;
  }
};

// The terms that blocks of this blockIdx.y sum up, where each gets up to `slabs` slabs of them.
struct Share {
  int first, slabs;

  __device__ __forceinline__ Share(int terms, int most)
      : first(int(blockIdx.y) * most * tile_k), slabs(min(most, (terms - first + tile_k - 1) / tile_k)) {}
};

// The sums over a share of the terms; terms(k) is term k, beyond the last one too.
//
// Returns blockIdx.x, by way of shared memory: what is worked out from it once more takes no registers meanwhile.
// tabled     the terms of two slabs are kept in shared memory, made ahead by the block's first threads: one thread
//            works out what otherwise all of them would
template <bool tabled, class Terms, class Left, class Right>
__device__ __forceinline__ int multiply(
    const Terms& terms, Left left, Right right, const Share& share, Sums& sums) {
  static_assert(!tabled || threads >= tile_k, "a thread for each term of a slab");
  __shared__ __align__(16) float lefts[2][tile_k][tile_m + 4];
  __shared__ __align__(16) float rights[2][tile_k][tile_n + 4];
  __shared__ Term table[2][tabled ? tile_k : 1];
  __shared__ int block;

  const auto term_of = [&](int slab, int k) { return terms(share.first + slab * tile_k + k); };
  const auto note = [&](int slab) {
    if (tabled && threadIdx.x < tile_k) table[slab % 2][threadIdx.x] = term_of(slab, threadIdx.x);
  };
  const auto fetch = [&](int slab) {
    const auto term = [&](int k) { return tabled ? table[slab % 2][k] : term_of(slab, k); };
    left.fetch(term);
    right.fetch(term);
  };
  const auto store = [&](int slab) {
    left.store(lefts[slab % 2]);
    right.store(rights[slab % 2]);
  };

#pragma unroll
  for (int i = 0; i < thread_m; ++i)
#pragma unroll
    for (int j = 0; j < thread_n; ++j) sums.of[i][j] = 0;
  if (threadIdx.x == 0) block = blockIdx.x;
  note(0);
  note(1);
  if (tabled) __syncthreads();
  fetch(0);
  store(0);
  __syncthreads();
  for (int slab = 0; slab < share.slabs; ++slab) {
    if (slab + 1 < share.slabs) fetch(slab + 1);
    note(slab + 2);
#pragma unroll
    for (int k = 0; k < tile_k; ++k) {
      float a[thread_m], b[thread_n];
      load(a, lefts[slab % 2][k], Sums::row);
      load(b, rights[slab % 2][k], Sums::column);
#pragma unroll
      for (int i = 0; i < thread_m; ++i)
#pragma unroll
        for (int j = 0; j < thread_n; ++j) sums.of[i][j] = fmaf(a[i], b[j], sums.of[i][j]);
    }
    if (slab + 1 < share.slabs) store(slab + 1);
    __syncthreads();
  }
  return block;
}

// What a thread has summed up: put(m, place, values) for each row m < rows, with place = column(n) for a column
// n < columns and `vector` values from there on.
template <int vector, class Column, class Put>
__device__ __forceinline__ void hand_out(
    const Sums& sums, const Tile& tile, int rows, int columns, const Column& column, const Put& put) {
  static_assert(thread_n % vector == 0, "a thread has as many neighbours as are written at once");
#pragma unroll
  for (int j = 0; j < thread_n; j += vector) {
    const int n = tile.n + Sums::column(j);
    if (n >= columns) continue;
    const auto place = column(n);
#pragma unroll
    for (int i = 0; i < thread_m; ++i) {
      const int m = tile.m + Sums::row(i);
      if (m < rows) put(m, place, &sums.of[i][j]);
    }
  }
}

// to[v] = f(to[v], values[v]), `vector` of them.
template <int vector, class F>
__device__ __forceinline__ void change(float* to, const float* values, const F& f) {
  if constexpr (vector == 4) {
    float4* const four = reinterpret_cast<float4*>(to);
    const float4 old = *four;
    *four = make_float4(f(old.x, values[0]), f(old.y, values[1]), f(old.z, values[2]), f(old.w, values[3]));
  } else {
    *to = f(*to, *values);
  }
}

// The sum of a result's parts, which are `step` apart, in their order.
__device__ __forceinline__ float sum_of_parts(const float* parts, int number, int step, int i) {
  float sum = 0;
#pragma unroll 8
  for (int part = 0; part < number; ++part) sum += parts[part * step + i];
  return sum;
}
