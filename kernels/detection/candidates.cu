// Boxes that are predicted, and their scores, NaN for those that are none.
//
// NumPy      caffepy/layers/detection/detection_output.py, proposal.py
// Launch     a thread per box or score. Deterministic.
// Source     SSD, bbox_util.cpp; RefineDet; py-faster-rcnn, proposal_layer.py.
#include "boxes.cuh"
#include "common.cuh"

#define NONE __int_as_float(0x7fc00000)

// boxes (n, number, loc_classes, 4) = what `location` means relative to the priors, moved by first_location before
extern "C" __global__ void decode_boxes(
    int count, const float* __restrict__ location, const float* __restrict__ first_location,
    const float* __restrict__ prior, int number, int loc_classes, int code_type, int encoded,
    float* __restrict__ boxes) {
  FOR_EACH(i, count / 4) {
    const int of_item = i / loc_classes, p = of_item % number;
    const float4 scale = encoded ? make_float4(1, 1, 1, 1) : box_at(prior, number + p);
    float4 box = box_at(prior, p);
    if (first_location != nullptr) box = decoded(box_at(first_location, of_item), box, scale, code_type);
    reinterpret_cast<float4*>(boxes)[i] = decoded(box_at(location, i), box, scale, code_type);
  }
}

// scores (n, classes, number) = confidence (n, number, classes) above the threshold, else NaN, as for the background
extern "C" __global__ void candidate_scores(
    int count, const float* __restrict__ confidence, const float* __restrict__ objectness, int classes, int number,
    int background, float threshold, float least_objectness, float* __restrict__ scores) {
  FOR_EACH(i, count) {
    const int p = i % number, label = i / number % classes, of_item = i / number / classes * number + p;
    float score = confidence[of_item * classes + label];
    if (objectness != nullptr && objectness[2 * of_item + 1] < least_objectness) score = label == 0;
    scores[i] = label != background && score > threshold ? score : NONE;
  }
}

// boxes (n, height * width * anchors, 4) = the anchors, moved, inside the image; likely (n, height * width * anchors) =
// the second half of scores (n, 2 anchors, height, width), NaN where a side is below min_size
extern "C" __global__ void region_candidates(
    int count, const float* __restrict__ scores, const float* __restrict__ deltas, const float* __restrict__ images,
    const float* __restrict__ anchor_boxes, int anchors, int height, int width, int image_numbers, int feat_stride,
    float min_size, float* __restrict__ boxes, float* __restrict__ likely) {
  FOR_EACH(i, count) {
    const int places = height * width, a = i % anchors, place = i / anchors % places, item = i / anchors / places;
    const float right = float(place % width * feat_stride), down = float(place / width * feat_stride);
    const float4 anchor = box_at(anchor_boxes, a);
    const float4 prior = {__fadd_rn(anchor.x, right), __fadd_rn(anchor.y, down),
                          __fadd_rn(__fadd_rn(anchor.z, right), 1.0f), __fadd_rn(__fadd_rn(anchor.w, down), 1.0f)};
    const float* const delta = deltas + (item * anchors + a) * 4 * places + place;
    const float4 code = {delta[0], delta[places], delta[2 * places], delta[3 * places]};
    const float* const image = images + item * image_numbers;
    const float last_x = __fsub_rn(image[1], 1.0f), last_y = __fsub_rn(image[0], 1.0f);
    const float4 moved = decoded(code, prior, make_float4(1, 1, 1, 1), CENTER_SIZE);
    const float4 box = {lesser(greater(moved.x, 0), last_x), lesser(greater(moved.y, 0), last_y),
                        lesser(greater(moved.z, 0), last_x), lesser(greater(moved.w, 0), last_y)};
    const float least_x = __fmul_rn(min_size, image[min(3, image_numbers - 1)]);
    const bool wide = __fadd_rn(__fsub_rn(box.z, box.x), 1.0f) >= least_x;
    const bool high = __fadd_rn(__fsub_rn(box.w, box.y), 1.0f) >= __fmul_rn(min_size, image[2]);
    reinterpret_cast<float4*>(boxes)[i] = box;
    likely[i] = wide && high ? scores[(item * 2 * anchors + anchors + a) * places + place] : NONE;
  }
}
