// Steps of the search for a mask, on its places.                    NumPy: caffepy/saliency/methods/mask_operations.py
//
// Layout     (masks, count) places of each mask, fading (count, count), `count` elements of what is written first.
// Launch     soft_maximum and its backward: a block per element of what is written; the others: 1-D, any grid.
// Source     Fong, Patrick & Vedaldi 2019, sections 3.1 and 3.2; Kingma & Ba 2015 (adam_climb).
#include "reduce.cuh"
#include "global_pooling.cu"

// mask[k, i] = sum over j of w_ij * seen_ij, seen_ij = fading[i, j] * places[k, j], w_ij = exp(sharp * seen_ij -
// level[k, i]), which add up to 1
extern "C" __global__ void soft_maximum(
    int count, const float* __restrict__ places, const float* __restrict__ fading, float sharp, int across,
    float* __restrict__ mask, float* __restrict__ level) {
  const float* const fade = fading + blockIdx.x % across * across;
  const float* const from = places + blockIdx.x / across * across;
  float most = fade[0] * from[0];
  for (int j = threadIdx.x; j < across; j += blockDim.x) most = fmaxf(most, fade[j] * from[j]);
  most = block_max(most);
  float total = 0, sum = 0;
  for (int j = threadIdx.x; j < across; j += blockDim.x) {
    const float seen = fade[j] * from[j], weight = expf(sharp * (seen - most));
    total += weight;
    sum += weight * seen;
  }
  total = block_sum(total);
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    mask[blockIdx.x] = sum / total;
    level[blockIdx.x] = sharp * most + logf(total);
  }
}

// places_diff[k, j] = sum over i of mask_diff[k, i] * w_ij * (1 + sharp * (seen_ij - mask[k, i])) * fading[i, j]
extern "C" __global__ void soft_maximum_backward(
    int count, const float* __restrict__ places, const float* __restrict__ fading, float sharp, int across,
    const float* __restrict__ mask, const float* __restrict__ level, const float* __restrict__ mask_diff,
    float* __restrict__ places_diff) {
  const int j = blockIdx.x % across, first = blockIdx.x / across * across;
  const float place = places[blockIdx.x];
  float sum = 0;
  for (int i = threadIdx.x; i < across; i += blockDim.x) {
    const float fade = fading[i * across + j], seen = fade * place;
    sum += mask_diff[first + i] * expf(sharp * seen - level[first + i]) *
           (1 + sharp * (seen - mask[first + i])) * fade;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) places_diff[blockIdx.x] = sum;
}

// diff[k, i] -= weight * (mask[k, i] - (1 where it is among the `kept` greatest of its mask, else 0))
extern "C" __global__ void area_backward(
    int count, const float* __restrict__ mask, int across, int kept, float weight, float* __restrict__ diff) {
  FOR_EACH(p, count) {
    const float* const own = mask + p / across * across;
    const int i = p % across;
    int behind = 0;
    for (int j = 0; j < across; ++j) behind += own[j] < own[i] || (own[j] == own[i] && j < i);
    diff[p] -= weight * (own[i] - (behind >= across - kept));
  }
}

// a step of Adam upward, between 0 and 1; `turn` from 1
extern "C" __global__ void adam_climb(
    int count, const float* __restrict__ diff, float rate, float first_share, float second_share, int turn,
    float* __restrict__ first, float* __restrict__ second, float* __restrict__ values) {
  FOR_EACH(i, count) {
    first[i] = first_share * first[i] + (1 - first_share) * diff[i];
    second[i] = second_share * second[i] + (1 - second_share) * diff[i] * diff[i];
    const float mean = first[i] / (1 - powf(first_share, turn)), square = second[i] / (1 - powf(second_share, turn));
    values[i] = fminf(fmaxf(values[i] + rate * mean / (sqrtf(square) + 1e-12f), 0), 1);
  }
}
