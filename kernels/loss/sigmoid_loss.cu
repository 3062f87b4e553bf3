// SigmoidLoss: what sigmoid_cross_entropy_loss.cu then works on.     NumPy: caffepy/layers/loss/sigmoid_loss.py
//
// Layout     equally large arrays of `count` floats.
// Launch     1-D, any grid (grid-stride); four at a time where the arrays are aligned. Deterministic.
// Source     caffe-3dnormal_joint_pose, sigmoid_loss_layer.cpp.
#include "fours.cuh"

// target = 1 if 1 <= label < 2 else 0
extern "C" __global__ void sigmoid_loss_targets(int count, const float* label_data, float* target_data) {
  map(count, label_data, target_data, [](float label) { return float(label >= 1 && label < 2); });
}
