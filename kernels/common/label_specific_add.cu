// LabelSpecificAdd.     NumPy: caffepy/layers/common/label_specific_add.py
//
// Layout     top (count, classes), labels (count).
// Launch     1-D over `count` labels, any grid (grid-stride). Deterministic.
// Source     Wang et al. 2018 (AM-Softmax), label_specific_add_layer.cpp.
#include "common.cuh"
#include "indices.cuh"

// top[n, label[n]] += bias where it is above -bias
extern "C" __global__ void label_specific_add(
    int count, const float* label_data, float bias, int classes, float* top_data) {
  FOR_EACH(n, count) {
    if (!is_class(label_data[n], classes)) continue;
    float* own = top_data + n * classes + int(label_data[n]);
    if (*own > -bias) *own += bias;
  }
}
