// MarginInnerProduct: what of the features belongs to their diff.     NumPy: caffepy/layers/common/margin_inner_product.py
//
// Layout     bottom (rows, inputs), along (rows).
// Launch     1-D over `count` elements of the bottom, any grid (grid-stride). Deterministic.
// Source     Liu et al. 2017 (SphereFace), margin_inner_product_layer.cpp.
#include "common.cuh"

// bottom_diff[n] += along[n] * bottom[n]
extern "C" __global__ void margin_add_along(
    int count, const float* bottom_data, const float* along, int inputs, float* bottom_diff) {
  FOR_EACH(at, count) bottom_diff[at] += along[unsigned(at) / unsigned(inputs)] * bottom_data[at];
}
