// Batches of images that methods try, and maps of what they find.     NumPy: caffepy/saliency/{operations,maps}.py
//
// Layout     images and blobs (num, channels, inner), maps (num, inner), `count` elements of what is written.
// Launch     1-D, any grid (grid-stride), a thread per element, so that neighbours read neighbours; cam_weights,
//            slopes_forward and ranges_of: a block per element of what is written. Deterministic: sums are in the order that the launch alone decides.
// Source     Simonyan, Vedaldi & Zisserman 2013, section 3.1 (channel_maximum); Box & Muller 1958 (noise); Selvaraju et
//            al. 2017 and Chattopadhay et al. 2018 (cam_weights).
#include "fours.cuh"
#include "philox.cuh"
#include "reduce.cuh"

// maps[n, i] = max over c of |gradient[n, c, i]|; NaN if one of them is
extern "C" __global__ void channel_maximum_forward(
    int count, const float* __restrict__ gradient, int channels, int inner, float* __restrict__ maps) {
  FOR_EACH(i, count) {
    const float* const first = gradient + (i / inner * channels) * inner + i % inner;
    float most = 0;
    for (int c = 0; c < channels; ++c) {
      const float size = fabsf(first[c * inner]);
      if (size > most || size != size) most = size;  // once it is NaN, nothing is greater
    }
    maps[i] = most;
  }
}

// maps[n, i] = sum over c of weights[n, c] * values[n, c, i]; missing weights are 1; max(that, 0) if positive
extern "C" __global__ void channel_sum_forward(
    int count, const float* __restrict__ values, const float* __restrict__ weights, int channels, int inner,
    int positive, float* __restrict__ maps) {
  FOR_EACH(i, count) {
    const int n = i / inner;
    const float* const first = values + n * channels * inner + i % inner;
    float sum = 0;
    for (int c = 0; c < channels; ++c) sum += first[c * inner] * (weights ? weights[n * channels + c] : 1);
    maps[i] = positive && sum < 0 ? 0 : sum;
  }
}

// weights[p] = mean over i of gradient; plus_plus: sum over i of alpha * max(gradient, 0), where
// alpha = gradient^2 / (2 gradient^2 + gradient^3 * sum over i of values + 1e-6), 0 where gradient is 0
extern "C" __global__ void cam_weights(
    int count, const float* __restrict__ values, const float* __restrict__ gradient, int inner, int plus_plus,
    float* __restrict__ weights) {
  const float* const a = values + blockIdx.x * inner;
  const float* const g = gradient + blockIdx.x * inner;
  float sum = 0;
  if (plus_plus) {
    float total = 0;
    for (int i = threadIdx.x; i < inner; i += blockDim.x) total += a[i];
    total = block_sum(total);
    for (int i = threadIdx.x; i < inner; i += blockDim.x) {
      const float square = g[i] * g[i];
      const float divisor = 2 * square + total * square * g[i] + 1e-6f;
      if (g[i] > 0) sum += square / divisor * g[i];
    }
  } else {
    for (int i = threadIdx.x; i < inner; i += blockDim.x) sum += g[i];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) weights[blockIdx.x] = plus_plus ? sum : sum / inner;
}

// lows[n], highs[n] = the least and the greatest of values[n, i]; sizes: of their absolute values
extern "C" __global__ void ranges_of(
    int count, const float* __restrict__ values, int inner, int sizes, float* __restrict__ lows,
    float* __restrict__ highs) {
  const float* const own = values + blockIdx.x * inner;
  float low = sizes ? fabsf(own[0]) : own[0], high = low;
  for (int i = threadIdx.x; i < inner; i += blockDim.x) {
    const float value = sizes ? fabsf(own[i]) : own[i];
    low = fminf(low, value);
    high = fmaxf(high, value);
  }
  low = block_min(low);
  high = block_max(high);
  if (threadIdx.x == 0) {
    lows[blockIdx.x] = low;
    highs[blockIdx.x] = high;
  }
}

// scaled[n, i] = (values[n, i] - lows[n]) / (highs[n] - lows[n] + 1e-8)
extern "C" __global__ void unit_range(
    int count, const float* __restrict__ values, int inner, const float* __restrict__ lows,
    const float* __restrict__ highs, float* __restrict__ scaled) {
  FOR_EACH(i, count) {
    const float low = lows[i / inner];
    scaled[i] = (values[i] - low) / (highs[i / inner] - low + 1e-8f);
  }
}

// maps[n, i] = sum over c of (|values[n, c, i]| - lows[n]) / max(highs[n] - lows[n], 1e-12)
extern "C" __global__ void unit_range_sum(
    int count, const float* __restrict__ values, int channels, int inner, const float* __restrict__ lows,
    const float* __restrict__ highs, float* __restrict__ maps) {
  FOR_EACH(i, count) {
    const int n = i / inner;
    const float* const first = values + n * channels * inner + i % inner;
    const float low = lows[n], range = fmaxf(highs[n] - low, 1e-12f);
    float sum = 0;
    for (int c = 0; c < channels; ++c) sum += (fabsf(first[c * inner]) - low) / range;
    maps[i] = sum;
  }
}

// images = first * second
extern "C" __global__ void product_of(int count, const float* first, const float* second, float* images) {
  map(count, first, second, images, [](float a, float b) { return a * b; });
}

// total[i] += sum over k < terms of weights[k] * values[k, i] ^ power, power 1 or 2
extern "C" __global__ void weighted_powers(
    int count, const float* __restrict__ values, const float* __restrict__ weights, int terms, int power,
    float* __restrict__ total) {
  FOR_EACH(i, count) {
    float sum = 0;
    for (int k = 0; k < terms; ++k) {
      const float value = values[k * count + i];
      sum += weights[k] * (power == 2 ? value * value : value);
    }
    total[i] += sum;
  }
}

// u[j] of the seed's sequence
__device__ __forceinline__ float uniform_at(long long j, int seed) {
  return uniform(philox(Word(j / 8) + 1, Word(seed)), int(j % 8));
}

// noisy[k, i] = image[i] + sigma[0] * normal deviate number (first + k) * inner + i of the seed; number j is
// sqrt(-2 log(1 - u[2 j])) * cos(2 pi u[2 j + 1])
extern "C" __global__ void noisy_forward(
    int count, const float* __restrict__ image, int inner, const int* __restrict__ seed, int first,
    const float* __restrict__ sigma, float* __restrict__ noisy) {
  FOR_EACH(i, count) {
    const long long j = 2 * ((long long)first * inner + i);
    const float radius = sqrtf(-2 * logf(1 - uniform_at(j, seed[0])));
    noisy[i] = image[i % inner] + sigma[0] * (radius * cosf(6.28318531f * uniform_at(j + 1, seed[0])));
  }
}

// path[k, i] = start[i] + alphas[k] * (end[i] - start[i]); own: a start for each k, start[k, i]
extern "C" __global__ void path_forward(
    int count, const float* __restrict__ start, const float* __restrict__ end, int inner, int own,
    const float* __restrict__ alphas, float* __restrict__ path) {
  FOR_EACH(i, count) {
    const int at = i % inner;
    const float begin = start[own ? i : at];
    path[i] = begin + alphas[i / inner] * (end[at] - begin);
  }
}

// slopes[k] = sum over i of gradient[k, i] * (end[i] - start[i])
extern "C" __global__ void slopes_forward(
    int count, const float* __restrict__ gradient, const float* __restrict__ start, const float* __restrict__ end,
    int inner, float* __restrict__ slopes) {
  float sum = 0;
  for (int i = threadIdx.x; i < inner; i += blockDim.x) sum += gradient[blockIdx.x * inner + i] * (end[i] - start[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) slopes[blockIdx.x] = sum;
}

// blended[k, c, i] = background[c, i] + masks[k, i] * (image[c, i] - background[c, i])
extern "C" __global__ void blend_forward(
    int count, const float* __restrict__ image, const float* __restrict__ background,
    const float* __restrict__ masks, int channels, int inner, float* __restrict__ blended) {
  FOR_EACH(i, count) {
    const int at = i % (channels * inner);
    const float mask = masks[i / (channels * inner) * inner + at % inner];
    blended[i] = background[at] + mask * (image[at] - background[at]);
  }
}

// mixed[o, t, i] = sum over s of matrix[t, s] * values[o, s, i]: a linear map along one axis
extern "C" __global__ void mix_forward(
    int count, const float* __restrict__ values, const float* __restrict__ matrix, int source, int target, int inner,
    float* __restrict__ mixed) {
  FOR_EACH(i, count) {
    const int t = i / inner % target;
    const float* const first = values + i / inner / target * source * inner + i % inner;
    float sum = 0;
    for (int s = 0; s < source; ++s) sum += matrix[t * source + s] * first[s * inner];
    mixed[i] = sum;
  }
}

// masks[k, y, x] = 1 inside the window of rows x columns whose corner is corners[k] (y, x), else 0
extern "C" __global__ void window_masks(
    int count, const int* __restrict__ corners, int height, int width, int rows, int columns,
    float* __restrict__ masks) {
  FOR_EACH(i, count) {
    const int k = i / (height * width), y = i / width % height - corners[2 * k], x = i % width - corners[2 * k + 1];
    masks[i] = y >= 0 && y < rows && x >= 0 && x < columns;
  }
}

// masks[k, y, x] = grids[k] (cells x cells), bilinear, at ((y + shift) / cell_height, (x + shift) / cell_width)
extern "C" __global__ void random_masks(
    int count, const float* __restrict__ grids, const int* __restrict__ shifts, int cells, int cell_height,
    int cell_width, int height, int width, float* __restrict__ masks) {
  FOR_EACH(i, count) {
    const int k = i / (height * width);
    const float v = (i / width % height + shifts[2 * k] + 0.5f) / cell_height - 0.5f;
    const float u = (i % width + shifts[2 * k + 1] + 0.5f) / cell_width - 0.5f;
    const float y = fminf(fmaxf(v, 0), cells - 1), x = fminf(fmaxf(u, 0), cells - 1);
    const int top = min(int(y), cells - 2), left = min(int(x), cells - 2);
    const float down = y - top, right = x - left;
    const float* const cell = grids + (k * cells + top) * cells + left;
    const float at_left = cell[0] * (1 - down) + cell[cells] * down;
    const float at_right = cell[1] * (1 - down) + cell[cells + 1] * down;
    masks[i] = at_left * (1 - right) + at_right * right;
  }
}

// ablated[k] = values (channels, inner), of which channel first + k is 0
extern "C" __global__ void ablate_forward(
    int count, const float* __restrict__ values, int channels, int inner, int first, float* __restrict__ ablated) {
  FOR_EACH(i, count) {
    const int at = i % (channels * inner), k = i / (channels * inner);
    ablated[i] = at / inner == first + k ? 0 : values[at];
  }
}
