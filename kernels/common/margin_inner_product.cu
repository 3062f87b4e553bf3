// MarginInnerProduct: the margin.     NumPy: caffepy/layers/common/margin_inner_product.py
//
// Layout     top (rows, classes), labels, lengths, cosines and along (rows), strength (1).
// Launch     1-D over `count` elements, rows forward, scores backward; any grid (grid-stride). Deterministic.
// Constants  margin
// Source     Liu et al. 2017 (SphereFace), margin_inner_product_layer.cpp.
#include "common.cuh"
#include "indices.cuh"

__device__ __forceinline__ float sign(float x) { return float(x > 0) - float(x < 0); }

// psi at a cosine, and its slope.
struct Psi {
  float value, slope;
};

__device__ __forceinline__ Psi psi(float c) {
  if (margin == 1) return {c, 1};
  if (margin == 2) return {2 * sign(c) * c * c - 1, 4 * sign(c) * c};
  if (margin == 3) {
    const float turn = sign(fabsf(c) - 0.5f);
    return {turn * (4 * c * c * c - 3 * c) + sign(c) * (1 + turn) - 2, turn * (12 * c * c - 3)};
  }
  const float square = c * c, turn = sign(c) * sign(2 * square - 1);
  return {turn * (8 * square * square - 8 * square + 1) + 2 * sign(c) + turn - 3,
          turn * (32 * square * c - 16 * c)};
}

// cosines[n] = top[n, label[n]] / lengths[n], then
// top[n, label[n]] = (lengths[n] * psi(cosines[n]) + strength * top[n, label[n]]) / (1 + strength)
extern "C" __global__ void margin_forward(
    int count, const float* label_data, const float* lengths, const float* strength, int classes, float* cosines,
    float* top_data) {
  FOR_EACH(n, count) {
    const bool counted = is_class(label_data[n], classes);
    const int at = n * classes + (counted ? int(label_data[n]) : 0);
    const float product = top_data[at], cosine = product / lengths[n];
    cosines[n] = cosine;
    if (counted) top_data[at] = (lengths[n] * psi(cosine).value + strength[0] * product) / (1 + strength[0]);
  }
}

// From the diff of the top those of the products x w, and along[n], what of x itself belongs to x's diff.
extern "C" __global__ void margin_backward(
    int count, const float* top_diff, const float* label_data, const float* lengths, const float* cosines,
    const float* strength, int classes, float* along, float* score_diff) {
  FOR_EACH(at, count) {
    const int n = unsigned(at) / unsigned(classes), j = at - n * classes;
    const bool counted = is_class(label_data[n], classes);
    if (!counted && j == 0) along[n] = 0;
    if (!counted || j != int(label_data[n])) {
      score_diff[at] = top_diff[at];
      continue;
    }
    const float c = cosines[n], part = top_diff[at] / (1 + strength[0]);
    const Psi at_c = psi(c);
    const float rest = (at_c.value - c * at_c.slope) / lengths[n];
    const float size = margin > 1 ? sqrtf(at_c.slope * at_c.slope + rest * rest) : 1;
    along[n] = margin > 1 ? part * rest / size : 0;
    score_diff[at] = part * (at_c.slope / size + strength[0]);
  }
}
