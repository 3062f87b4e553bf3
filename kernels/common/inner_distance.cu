// InnerDistance.     NumPy: caffepy/layers/common/inner_distance.py
//
// Layout     bottom (num, inputs), weights (outputs, inputs), top (num, outputs).
// Launch     forward: a block of whole warps per element of the top, `count` of them; backward: 1-D over `count`
//            elements of what is written, any grid (grid-stride). Deterministic.
// Constants  l1
// Source     caffe-windows, inner_distance_layer.cpp.
#include "common.cuh"
#include "reduce.cuh"

__device__ __forceinline__ float slope(float d) { return l1 ? float(d > 0) - float(d < 0) : 2 * d; }

// top[m, o] = bias[o] + sum over i of d^2, or of |d|, d = bottom[m, i] - weight[o, i]
extern "C" __global__ void inner_distance_forward(
    int count, const float* bottom_data, const float* weight_data, const float* bias_data, int outputs, int inputs,
    float* top_data) {
  const int m = blockIdx.x / outputs, o = blockIdx.x % outputs;
  float sum = 0;
  for (int i = threadIdx.x; i < inputs; i += blockDim.x) {
    const float d = bottom_data[m * inputs + i] - weight_data[o * inputs + i];
    sum += l1 ? fabsf(d) : d * d;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) top_data[blockIdx.x] = sum + bias_data[o];
}

// bottom_diff[m, i] = sum over o of top_diff[m, o] * 2 d, or * sign(d), d = bottom[m, i] - weight[o, i]
extern "C" __global__ void inner_distance_backward(
    int count, const float* bottom_data, const float* weight_data, const float* top_diff, int outputs, int inputs,
    float* bottom_diff) {
  FOR_EACH(b, count) {
    const int m = unsigned(b) / unsigned(inputs), i = b - m * inputs;
    float sum = 0;
    for (int o = 0; o < outputs; ++o) {
      sum += top_diff[m * outputs + o] * slope(bottom_data[b] - weight_data[o * inputs + i]);
    }
    bottom_diff[b] = sum;
  }
}

// weight_diff[o, i] += sum over m of top_diff[m, o] * 2 d, or * sign(d), d = weight[o, i] - bottom[m, i]
extern "C" __global__ void inner_distance_backward_weights(
    int count, const float* bottom_data, const float* weight_data, const float* top_diff, int num, int outputs,
    int inputs, float* weight_diff) {
  FOR_EACH(w, count) {
    const int o = unsigned(w) / unsigned(inputs), i = w - o * inputs;
    float sum = 0;
    for (int m = 0; m < num; ++m) {
      sum += top_diff[m * outputs + o] * slope(weight_data[w] - bottom_data[m * inputs + i]);
    }
    weight_diff[w] += sum;
  }
}
