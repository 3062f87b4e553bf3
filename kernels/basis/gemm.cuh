// One block's tile of a matrix product: sum(m, n) = sum over k of left(m, k) * right(k, n).
//
// The block walks along k slab by slab. While it multiplies one slab out of shared memory, the next one is on its way
// from global memory to registers; two slabs of shared memory take turns, so that one barrier a slab is enough.
//
// Constants  tile_m, tile_n, tile_k    the tile, and how many terms a slab has
//            thread_m, thread_n        the part of it that a thread sums up, in chunks of four rows and four columns
//            resident                  how many blocks a multiprocessor must have registers for
//            tf32                      0, or how many instructions of tensor cores a product takes, sm_80 and newer: 1,
//                                      factors are rounded to TF32; 3, they are split into two such numbers. A thread's
//                                      chunks are of four rows and eight columns then
//            narrow, weight_format     numbers.cuh; with `narrow`, too, tensor cores multiply, sixteen terms at once
// Alignment  where 4 floats are read or written at once, arrays begin at multiples of 16 bytes.
// Deterministic: a sum is made in the order of k, eight or sixteen terms at once by tensor cores.
#pragma once
#include "change.cuh"
#include "common.cuh"
#include "numbers.cuh"
#include "parts.cuh"
#include "ptx.cuh"

constexpr bool tensor = tf32 != 0 || narrow != 0;
constexpr int threads_m = tile_m / thread_m, threads_n = tile_n / thread_n, threads = threads_m * threads_n;
// A warp is a rectangle of threads: the fewer different rows and columns it reads, the less shared memory is asked.
constexpr int lanes_m = tensor ? 8 : threads_m < 4 ? threads_m : 4, lanes_n = 32 / lanes_m, warps_m = threads_m / lanes_m;
static_assert(threads_m % lanes_m == 0 && threads_n % lanes_n == 0, "a tile is made of whole warps");
static_assert(!tensor || (thread_m % 4 == 0 && thread_n % 8 == 0), "chunks of tensor cores");
static_assert(!(tf32 && narrow) && tile_k % (narrow ? 16 : tf32 ? 8 : 1) == 0, "slabs of whole instructions");

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
template <int Term::*offset_of, class T = float>
struct Matrix {
  const T* data;
  int first, step, extent;

  __device__ __forceinline__ Line line(int i) const { return {first + i * step, 0, 0}; }
  __device__ __forceinline__ int offset(const Term& term) const { return term.*offset_of; }
  __device__ __forceinline__ bool sees(const Line&, const Term& term) const { return term.y != NOWHERE; }
};

// A slab of an operand in shared memory: for each term, its factors in all lines; with `narrow`, for two terms at a time,
// packed as one float.
//
// Lanes that store neighbours along k, and lanes of tensor cores that read such, find them in different banks.
template <int side>
struct Slab {
  static constexpr int step = side + (tensor ? 8 : 4), terms = narrow ? tile_k / 2 : tile_k;
  __align__(16) float factors[terms + (tensor ? 1 : 0)][step];

  __device__ __forceinline__ float* term(int k) { return factors[k] + (tensor ? k / 4 * 4 : 0); }
  __device__ __forceinline__ const float* term(int k) const { return factors[k] + (tensor ? k / 4 * 4 : 0); }
};

// What is kept of a factor.
__device__ __forceinline__ float factor(float x) {
  if constexpr (tf32 == 1) return __uint_as_float(ptx_cvt_tf32(x));
  return x;
}

// Moves an operand's slabs from global to shared memory: `side` of its lines, `vector` floats at once, which are
// neighbours along k or among the lines.
//
// Source     data; extent, how many lines there are; line(i); offset(term); sees(line, term), false where the factor is
//            0 and not in memory
template <class Source, int side, int vector, bool along_k>
class Operand {
  // Terms that are packed as one and lie apart in memory: a thread fetches both, in rounds that follow each other.
  static constexpr int paired = narrow && !along_k ? 2 : 1;
  // Threads lie side by side along what neighbours in memory are, `across` pieces wide, and go on in rounds.
  static constexpr int across = (along_k ? tile_k : side) / vector, down = along_k ? side : tile_k / paired;
  static constexpr int step = across < threads ? threads / across : 1;
  static constexpr int times = across < threads ? 1 : across / threads;  // rounds for a thread to get across
  static constexpr int rounds = (down + step - 1) / step * times * paired, lines = along_k ? rounds : times;
  static_assert(across < threads ? threads % across == 0 : across % threads == 0, "threads keep to their lines");

  const Source source;
  Line line[lines];
  float staged[rounds][vector];

  static __device__ __forceinline__ int along(int round) {
    return (int(threadIdx.x % across) + round / paired % times * threads) * vector;
  }
  static __device__ __forceinline__ int pair(int round) {
    return int(threadIdx.x / across) + round / paired / times * step;
  }
  static __device__ __forceinline__ int beside(int round) { return pair(round) * paired + round % paired; }
  static __device__ __forceinline__ int k(int round) { return along_k ? along(round) : beside(round); }
  static __device__ __forceinline__ int i(int round) { return along_k ? beside(round) : along(round); }
  static __device__ __forceinline__ bool exists(int round) { return down % step == 0 || pair(round) < down; }

 public:
  // For the lines from `first` on. Those beyond the operand's last are read as the last, for sums that nobody takes.
  __device__ __forceinline__ Operand(const Source& source, int first) : source(source) {
#pragma unroll
    for (int l = 0; l < lines; ++l)
      line[l] = source.line(min(first + i(l * paired), source.extent - (along_k ? 1 : vector)));
  }

  // From global memory to registers; terms(k) is term number k of the slab.
  template <class Terms>
  __device__ __forceinline__ void fetch(const Terms& terms) {
#pragma unroll
    for (int round = 0; round < rounds; ++round) {
      if (!exists(round)) continue;
      const Term term = terms(k(round));
      const Line& at = line[round / paired % lines];
      const bool seen = source.sees(at, term);
      const auto* const from = source.data + (at.offset + source.offset(term));
      float(&to)[vector] = staged[round];
      if constexpr (vector == 4) {
        const float4 four = seen ? four_at(from) : make_float4(0, 0, 0, 0);
        to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
      } else {
        to[0] = seen ? widened(*from) : 0;
      }
    }
  }

  // From registers to shared memory.
  __device__ __forceinline__ void store(Slab<side>& slab) const {
#pragma unroll
    for (int round = 0; round < rounds; ++round) {
      if (!exists(round)) continue;
      const float(&from)[vector] = staged[round];
      if constexpr (narrow) {
        if (round % paired == 0) store_packed(slab, round);
        continue;
      }
      float* const to = slab.term(k(round)) + i(round);
      if constexpr (vector == 4 && !along_k) {
        *reinterpret_cast<float4*>(to) = make_float4(factor(from[0]), factor(from[1]), factor(from[2]), factor(from[3]));
      } else {
#pragma unroll
        for (int v = 0; v < vector; ++v) to[v * Slab<side>::step] = factor(from[v]);
      }
    }
  }

 private:
  __device__ __forceinline__ void store_packed(Slab<side>& slab, int round) const {
    const float(&from)[vector] = staged[round];
    float* const to = slab.term(k(round) / 2) + i(round);
    if constexpr (along_k && vector == 1) {
      reinterpret_cast<unsigned short*>(to)[k(round) % 2] = (unsigned short)packed(from[0], 0);
    } else if constexpr (along_k) {
#pragma unroll
      for (int v = 0; v < vector; v += 2) slab.term((k(round) + v) / 2)[i(round)] = two(from[v], from[v + 1]);
    } else {
      const float(&next)[vector] = staged[round + 1];
      if constexpr (vector == 4) {
        *reinterpret_cast<float4*>(to) =
            make_float4(two(from[0], next[0]), two(from[1], next[1]), two(from[2], next[2]), two(from[3], next[3]));
      } else {
        *to = two(from[0], next[0]);
      }
    }
  }

  static __device__ __forceinline__ float two(float first, float second) {
    return __uint_as_float(packed(first, second));
  }
};

template <int side, int vector, bool along_k, class Source>
__device__ __forceinline__ Operand<Source, side, vector, along_k> operand(const Source& source, int first) {
  return {source, first};
}

// The sums of a thread: of[i][j] is in row(i) and column(j) of the tile.
class Sums {
  static constexpr int chunk_m = thread_m % 4 == 0 ? 4 : thread_m, chunk_n = thread_n % 4 == 0 ? 4 : thread_n;

  template <int chunk, int threads_across>
  static __device__ __forceinline__ int place(int i, int thread_number) {
    return i / chunk * (threads_across * chunk) + thread_number * chunk + i % chunk;
  }
  static __device__ __forceinline__ int warp_m() { return threadIdx.x / 32 % warps_m; }
  static __device__ __forceinline__ int warp_n() { return threadIdx.x / 32 / warps_m; }

 public:
  float of[thread_m][thread_n];

  static __device__ __forceinline__ int row(int i) {
    return place<chunk_m, threads_m>(i, warp_m() * lanes_m + threadIdx.x % 32 / lanes_n);
  }
  static __device__ __forceinline__ int column(int j) {
    return place<tensor ? 8 : chunk_n, threads_n>(j, warp_n() * lanes_n + threadIdx.x % lanes_n);
  }

  // The columns whose factors a lane holds for tensor cores, as many as half its sums'.
  static __device__ __forceinline__ int held_column(int j) {
    return place<4, 2 * threads_n>(j, warp_n() * 8 + threadIdx.x % 32 / 4);
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

// sums += what a slab gives.
__device__ __forceinline__ void add_slab(const Slab<tile_m>& left, const Slab<tile_n>& right, Sums& sums) {
#pragma unroll
  for (int k = 0; k < tile_k; ++k) {
    float a[thread_m], b[thread_n];
    load(a, left.term(k), Sums::row);
    load(b, right.term(k), Sums::column);
#pragma unroll
    for (int i = 0; i < thread_m; ++i)
#pragma unroll
      for (int j = 0; j < thread_n; ++j) sums.of[i][j] = fmaf(a[i], b[j], sums.of[i][j]);
  }
}

// One operand of an instruction of tensor cores, and what rounding left of it.
template <int count>
struct Factors {
  unsigned rounded[count], rest[count];

  __device__ __forceinline__ explicit Factors(const float (&x)[count]) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      rounded[i] = tf32 == 1 ? __float_as_uint(x[i]) : ptx_cvt_tf32(x[i]);
      rest[i] = tf32 == 1 ? 0 : ptx_cvt_tf32(x[i] - __uint_as_float(rounded[i]));
    }
  }
};

// d += left * right; with three instructions, all but the product of the rests.
__device__ __forceinline__ void multiply_add(float (&d)[4], const float (&left)[4], const float (&right)[2]) {
  if constexpr (narrow) {
    const unsigned a[4] = {__float_as_uint(left[0]), __float_as_uint(left[1]), __float_as_uint(left[2]),
                           __float_as_uint(left[3])};
    const unsigned b[2] = {__float_as_uint(right[0]), __float_as_uint(right[1])};
    ptx_mma_m16n8k16<narrow>(d, a, b);
    return;
  }
  const Factors<4> a(left);
  const Factors<2> b(right);
  if constexpr (tf32 == 3) {
    ptx_mma_m16n8k8_tf32(d, a.rest, b.rounded);
    ptx_mma_m16n8k8_tf32(d, a.rounded, b.rest);
  }
  ptx_mma_m16n8k8_tf32(d, a.rounded, b.rounded);
}

// The same by tensor cores, of terms or packed pairs of them. Which rows and columns of the tile are an instruction's 16 rows and 8 columns is free: row r
// of instruction i is r % 8 * 4 + 2 i + r / 8 of a warp's 32, and column c of instruction j is 4 c + j of 32. So what a
// lane needs for four instructions lies side by side in shared memory, and so do the sums it ends up with.
__device__ __forceinline__ void add_slab_tensor(const Slab<tile_m>& left, const Slab<tile_n>& right, Sums& sums) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int k = 0; k < left.terms; k += 8) {
    float a[2][thread_m], b[2][(thread_n + 1) / 2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      load(a[half], left.term(k + 4 * half) + t * left.step, Sums::row);
      load(b[half], right.term(k + 4 * half) + t * right.step, Sums::held_column);
    }
#pragma unroll
    for (int i = 0; i < thread_m; i += 2)
#pragma unroll
      for (int j = 0; j < thread_n / 2; ++j) {
        const float of_left[4] = {a[0][i], a[0][i + 1], a[1][i], a[1][i + 1]}, of_right[2] = {b[0][j], b[1][j]};
        const int even = j / 4 * 8 + j % 4, odd = even + 4;
        float d[4] = {sums.of[i][even], sums.of[i][odd], sums.of[i + 1][even], sums.of[i + 1][odd]};
        multiply_add(d, of_left, of_right);
        sums.of[i][even] = d[0], sums.of[i][odd] = d[1], sums.of[i + 1][even] = d[2], sums.of[i + 1][odd] = d[3];
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
  __shared__ Slab<tile_m> lefts[2];
  __shared__ Slab<tile_n> rights[2];
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
    if constexpr (tensor) add_slab_tensor(lefts[slab % 2], rights[slab % 2], sums);
    else add_slab(lefts[slab % 2], rights[slab % 2], sums);
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
