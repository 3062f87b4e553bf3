// What rules are made of that run backward in place of derivatives.     NumPy: caffepy/rules/operations.py
//
// Layout     equally large arrays of `count` floats; what is written may be what is read.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Source     Bach et al. 2015 (LRP); Montavon et al. 2019 (gamma); Shrikumar, Greenside & Kundaje 2017 (DeepLIFT).
#include "fours.cuh"

// max(x, 0) or min(x, 0); a NaN stays one
__device__ __forceinline__ float of_sign(float x, float sign) {
  return (sign > 0 ? x < 0 : x > 0) ? 0 : x;
}

// part = max(values, 0) if sign > 0 else min(values, 0)
extern "C" __global__ void part_of(int count, const float* values, float sign, float* part) {
  map(count, values, part, [=](float x) { return of_sign(x, sign); });
}

// quotient = relevance / (output + epsilon * sign(output)), sign(0) = 1; 0 where that divides by 0
extern "C" __global__ void relevance_quotient(
    int count, const float* relevance, const float* output, float epsilon, float* quotient) {
  map(count, relevance, output, quotient, [=](float r, float z) {
    const float steady = z + (z >= 0 ? epsilon : -epsilon);
    return steady == 0 ? 0 : r / steady;
  });
}

// relevance = (relevance if accumulate else 0) + factor * values * diff; missing values are 1
extern "C" __global__ void relevance_product(
    int count, const float* values, const float* diff, float factor, int accumulate, float* relevance) {
  FOR_EACH(i, count) {
    const float product = diff[i] * factor * (values ? values[i] : 1);
    relevance[i] = accumulate ? relevance[i] + product : product;
  }
}

// result = values + gamma * (their part of that sign)
extern "C" __global__ void favored(int count, const float* values, float gamma, float sign, float* result) {
  map(count, values, result, [=](float x) { return x + gamma * of_sign(x, sign); });
}

// mean, in both halves = (the images' values + their references') / 2
extern "C" __global__ void halves_mean(int count, const float* __restrict__ values, int half, float* __restrict__ mean) {
  FOR_EACH(i, count) mean[i] = (values[i] + values[i < half ? i + half : i - half]) / 2;
}

// values = values if judge * sign > 0 else 0
extern "C" __global__ void keep_of_sign(int count, const float* judge, float sign, float* values) {
  map(count, judge, values, values, [=](float j, float value) { return j * sign > 0 ? value : 0; });
}

// factor * z + offset = scale * (z - mean) / sqrt(variance + eps) + shift; what is missing changes nothing
extern "C" __global__ void fold_statistics(
    int count, const float* mean, const float* variance, float eps, const float* scale, const float* shift,
    float* factor, float* offset) {
  FOR_EACH(c, count) {
    const float by = (scale ? scale[c] : 1) / (variance ? sqrtf(variance[c] + eps) : 1);
    factor[c] = by;
    offset[c] = (mean ? -mean[c] * by : 0) + (shift ? shift[c] : 0);
  }
}

// bottom_diff, in both halves = top_diff * (top - its reference) / (bottom - its reference) of the image; where bottom
// and reference are nearly equal, its derivative. The first `half` elements are the images', the others, in the same
// order, their references'.
extern "C" __global__ void rescale_backward(
    int count, const float* bottom_data, const float* top_data, int half, const float* top_diff,
    const float* derivative, float* bottom_diff) {
  FOR_EACH(image, half) {  // both halves by one thread: bottom_diff may be top_diff
    const float step = bottom_data[image] - bottom_data[image + half];
    const float slope = (top_data[image] - top_data[image + half]) / step;
    const float found = fabsf(step) >= 1e-7f ? top_diff[image] * slope : derivative[image];
    bottom_diff[image] = found;
    bottom_diff[image + half] = found;
  }
}

// spread = top_diff * (the greater of image and reference - reference), and in the references' half
// top_diff of the image * (image - the greater), by tops
extern "C" __global__ void pool_rescale(
    int count, const float* top_data, int half, const float* top_diff, float* spread) {
  FOR_EACH(i, count) {
    const int image = i < half ? i : i - half;
    const float y = top_data[image], reference = top_data[image + half], greater = fmaxf(y, reference);
    spread[i] = top_diff[image] * (i < half ? greater - reference : y - greater);
  }
}

// bottom_diff, in both halves = the sum of spread's halves / (bottom - its reference), or the image's derivative
extern "C" __global__ void pool_rescale_backward(
    int count, const float* bottom_data, int half, const float* spread, const float* derivative, float* bottom_diff) {
  FOR_EACH(i, count) {
    const int image = i < half ? i : i - half;
    const float step = bottom_data[image] - bottom_data[image + half];
    bottom_diff[i] = fabsf(step) >= 1e-7f ? (spread[image] + spread[image + half]) / step : derivative[image];
  }
}

// What LRN's top gains for its squares, of channel `at` of an image: top_diff * mean(x) * slope of scale^-beta.
__device__ __forceinline__ float squares_share(
    const float* x, const float* s, const float* dy, int at, int half, float beta) {
  const float scale = s[at], reference = s[at + half], step = scale - reference, middle = (scale + reference) / 2;
  const float slope = fabsf(step) < 0.01f * middle ? -beta * powf(middle, -beta - 1)
                                                   : (powf(scale, -beta) - powf(reference, -beta)) / step;
  return dy[at] * (x[at] + x[at + half]) / 2 * slope;
}

// bottom_diff, in both halves = mean(g) top_diff + alpha / local_size * (x + r) * sum over channels around of
// top_diff * mean(x) * slope of g; x and r are image and reference, g = scale^-beta
extern "C" __global__ void lrn_rescale_backward(
    int count, const float* bottom_data, const float* scale, int half, int channels, int inner, int local_size,
    float alpha, float beta, const float* top_diff, float* bottom_diff) {
  FOR_EACH(i, count) {
    const int image = i < half ? i : i - half;
    const int c = image / inner % channels, reach = local_size / 2;
    float around = 0;
    for (int other = max(c - reach, 0); other <= min(c + reach, channels - 1); ++other) {
      around += squares_share(bottom_data, scale, top_diff, image + (other - c) * inner, half, beta);
    }
    const float g = (powf(scale[image], -beta) + powf(scale[image + half], -beta)) / 2;
    bottom_diff[i] = top_diff[image] * g + alpha / local_size * (bottom_data[image] + bottom_data[image + half]) * around;
  }
}
