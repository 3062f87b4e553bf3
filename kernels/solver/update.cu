// Solvers' updates, for all weight blobs of a net in one launch.     NumPy: caffepy/solver/rules.py
//
// Layout     addresses: for each blob four pointers, to data, diff, history and second history; chunks: for each block
//            three ints, the blob, the first element and how many; multipliers: for each blob three floats, lr_mult,
//            L2 and L1 decay; numbers: rate, momentum, momentum2 or rms_decay, delta, 1 / iter_size, correction, limit;
//            clipping: the factor of all diffs, and their norm
// Launch     one block for each chunk, however many threads. Deterministic.
// Source     BVLC Caffe's src/caffe/solvers; the papers are named in the NumPy bodies
#include "common.cuh"
#include "reduce.cuh"

struct Weights {
  float *data, *diff, *h, *v;
};

struct Numbers {
  float rate, momentum, second, delta, normalize, correction, limit;
};

// Calls visit(index) for the elements of this block's chunk.
template <typename Visit>
__device__ __forceinline__ void each_of_chunk(const int* chunk, Visit visit) {
#pragma unroll 4
  for (int i = threadIdx.x; i < chunk[2]; i += blockDim.x) visit(chunk[1] + i);
}

// g, with clipping and decay, becomes what rule(g, h, v, rate) gives, and is subtracted from the weight.
template <typename Rule>
__device__ __forceinline__ void update(
    const int* addresses, const int* chunks, const float* multipliers, const float* numbers, const float* clipping,
    Rule rule) {
  const int* chunk = chunks + 3 * blockIdx.x;
  const Weights blob = ((const Weights*)addresses)[chunk[0]];
  const float* own = multipliers + 3 * chunk[0];
  const Numbers given = *(const Numbers*)numbers;
  const float rate = given.rate * own[0], l2 = own[1], l1 = own[2], factor = clipping[0];
  each_of_chunk(chunk, [&](int i) {
    const float w = blob.data[i];
    float g = blob.diff[i] * factor * given.normalize;
    if (l2 != 0) g += l2 * w;
    if (l1 != 0) g += l1 * float((w > 0) - (w < 0));
    const float u = rule(g, blob.h[i], blob.v[i], rate, given);
    blob.diff[i] = u;
    blob.data[i] = w - u;
  });
}

// g = 0
extern "C" __global__ void clear_diffs(const int* addresses, const int* chunks) {
  const int* chunk = chunks + 3 * blockIdx.x;
  float* diff = ((const Weights*)addresses)[chunk[0]].diff;
  each_of_chunk(chunk, [&](int i) { diff[i] = 0; });
}

// sums[block] = the sum of g^2 over its chunk
extern "C" __global__ void sum_squares(const int* addresses, const int* chunks, float* sums) {
  const int* chunk = chunks + 3 * blockIdx.x;
  const float* diff = ((const Weights*)addresses)[chunk[0]].diff;
  float sum = 0;
  each_of_chunk(chunk, [&](int i) { sum += diff[i] * diff[i]; });
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// clipping = (limit / norm if norm > limit else 1, norm), norm = sqrt(sum of sums)
extern "C" __global__ void clip_factor(int count, const float* sums, const float* numbers, float* clipping) {
  float sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
  const float norm = sqrtf(block_sum(sum)), limit = ((const Numbers*)numbers)->limit;
  if (threadIdx.x == 0) {
    clipping[0] = norm > limit ? limit / norm : 1;
    clipping[1] = norm;
  }
}

// h = m h + r g; w -= h
extern "C" __global__ void sgd_update(
    const int* addresses, const int* chunks, const float* multipliers, const float* numbers, const float* clipping) {
  update(addresses, chunks, multipliers, numbers, clipping,
      [](float g, float& h, float&, float rate, const Numbers& n) { return h = n.momentum * h + rate * g; });
}

// h' = m h + r g; w -= (1 + m) h' - m h
extern "C" __global__ void nesterov_update(
    const int* addresses, const int* chunks, const float* multipliers, const float* numbers, const float* clipping) {
  update(addresses, chunks, multipliers, numbers, clipping,
      [](float g, float& h, float&, float rate, const Numbers& n) {
        const float before = n.momentum * h;
        h = before + rate * g;
        return (1 + n.momentum) * h - before;
      });
}

// h += g^2; w -= r g / (sqrt(h) + delta)
extern "C" __global__ void adagrad_update(
    const int* addresses, const int* chunks, const float* multipliers, const float* numbers, const float* clipping) {
  update(addresses, chunks, multipliers, numbers, clipping,
      [](float g, float& h, float&, float rate, const Numbers& n) {
        h += g * g;
        return rate * (g / (sqrtf(h) + n.delta));
      });
}

// h = d h + (1 - d) g^2; w -= r g / (sqrt(h) + delta)
extern "C" __global__ void rmsprop_update(
    const int* addresses, const int* chunks, const float* multipliers, const float* numbers, const float* clipping) {
  update(addresses, chunks, multipliers, numbers, clipping,
      [](float g, float& h, float&, float rate, const Numbers& n) {
        h = n.second * h + (1 - n.second) * (g * g);
        return rate * (g / (sqrtf(h) + n.delta));
      });
}

// h = m h + (1 - m) g^2; u = g sqrt((v + delta) / (h + delta)); v = m v + (1 - m) u^2; w -= r u
extern "C" __global__ void adadelta_update(
    const int* addresses, const int* chunks, const float* multipliers, const float* numbers, const float* clipping) {
  update(addresses, chunks, multipliers, numbers, clipping,
      [](float g, float& h, float& v, float rate, const Numbers& n) {
        h = n.momentum * h + (1 - n.momentum) * (g * g);
        const float u = g * sqrtf((v + n.delta) / (h + n.delta));
        v = n.momentum * v + (1 - n.momentum) * (u * u);
        return rate * u;
      });
}

// h = m h + (1 - m) g; v = n v + (1 - n) g^2; w -= r c h / (sqrt(v) + delta)
extern "C" __global__ void adam_update(
    const int* addresses, const int* chunks, const float* multipliers, const float* numbers, const float* clipping) {
  update(addresses, chunks, multipliers, numbers, clipping,
      [](float g, float& h, float& v, float rate, const Numbers& n) {
        h = n.momentum * h + (1 - n.momentum) * g;
        v = n.second * v + (1 - n.second) * (g * g);
        return rate * n.correction * (h / (sqrtf(v) + n.delta));
      });
}
