// FlowWarp: an image, seen where a flow field points.     NumPy: caffepy/layers/flow/flow_warp.py
//
// Layout     image and top (num, channels, height, width), flow (num, 2, height, width), x before y. The workspace is
//            one int for each square between four pixels, named by its first, where the chain of the positions that
//            point into it begins, and one for each position, what comes next in its chain; -1 ends it.
// Launch     1-D over `count` squares, positions or elements of what is written, any grid (grid-stride). Deterministic:
//            chains are linked in any order, then sorted.
// Source     Ilg et al. 2017 (FlowNet 2.0), flow_warp_layer.cu.
#include "common.cuh"

struct Seen {
  bool inside;
  int top, left;
  float beta, alpha;  // how far below and right of the first pixel
};

// Where position (n, pixel) points to.
__device__ __forceinline__ Seen seen_by(const float* flow, int n, int pixel, int height, int width) {
  const int y = pixel / width, x = pixel - y * width, plane = height * width;
  const float to_x = x + flow[2 * n * plane + pixel], to_y = y + flow[(2 * n + 1) * plane + pixel];
  if (!(to_x >= 0 && to_y >= 0 && to_x < width && to_y < height)) return {false, 0, 0, 0, 0};
  return {true, int(to_y), int(to_x), to_y - int(to_y), to_x - int(to_x)};
}

// top[n, c, y, x] = image[n, c, y + flow[n, 1, y, x], x + flow[n, 0, y, x]], linear between pixels; fill_value outside
extern "C" __global__ void flow_warp_forward(
    int count, const float* image_data, const float* flow_data, int channels, int height, int width, float fill_value,
    float* top_data) {
  FOR_EACH(t, count) {
    const int map = unsigned(t) / unsigned(height * width), pixel = t - map * height * width;
    const Seen s = seen_by(flow_data, map / channels, pixel, height, width);
    float value = fill_value;
    if (s.inside) {
      const float* const image = image_data + map * height * width;
      const int low = min(s.top + 1, height - 1), right = min(s.left + 1, width - 1);
      value = image[s.top * width + s.left] * ((1 - s.beta) * (1 - s.alpha)) +
              image[s.top * width + right] * ((1 - s.beta) * s.alpha) +
              image[low * width + s.left] * (s.beta * (1 - s.alpha)) + image[low * width + right] * (s.beta * s.alpha);
    }
    top_data[t] = value;
  }
}

// Every chain is empty.
extern "C" __global__ void flow_warp_clear(int count, int* workspace) {
  FOR_EACH(i, count) workspace[i] = -1;
}

// Position i comes first in the chain of its square.
extern "C" __global__ void flow_warp_chain(int count, const float* flow_data, int height, int width, int* workspace) {
  FOR_EACH(i, count) {
    const int n = unsigned(i) / unsigned(height * width);
    const Seen s = seen_by(flow_data, n, i - n * height * width, height, width);
    if (s.inside) workspace[count + i] = atomicExch(&workspace[(n * height + s.top) * width + s.left], i);
  }
}

// The chain that begins with `first`, sorted: runs are merged by twos, each time twice as long.
__device__ int sorted(int first, int* next) {
  for (int length = 1;; length *= 2) {
    int rest = first, last = -1, merges = 0;
    for (; rest >= 0; ++merges) {
      int a = rest, b = rest, of_a = 0, of_b = length;
      for (; of_a < length && b >= 0; ++of_a) b = next[b];
      while (of_a > 0 || (of_b > 0 && b >= 0)) {
        const bool take_a = of_a > 0 && (of_b == 0 || b < 0 || a < b);
        const int taken = take_a ? a : b;
        if (take_a) {
          a = next[a];
          --of_a;
        } else {
          b = next[b];
          --of_b;
        }
        if (last < 0) {
          first = taken;
        } else {
          next[last] = taken;
        }
        last = taken;
      }
      rest = b;
    }
    next[last] = -1;
    if (merges == 1) return first;
  }
}

// Chains in the order of their positions.
extern "C" __global__ void flow_warp_order(int count, int* workspace) {
  FOR_EACH(i, count) {
    const int first = workspace[i];
    if (first >= 0 && workspace[count + first] >= 0) workspace[i] = sorted(first, workspace + count);
  }
}

// image_diff[n, c, q] = sum over the positions p of top_diff[n, c, p] * the weight that image[n, c, q] has there
extern "C" __global__ void flow_warp_backward_image(
    int count, const float* top_diff, const float* flow_data, int channels, int height, int width,
    const int* workspace, float* image_diff) {
  const int plane = height * width;
  FOR_EACH(b, count) {
    const int map = unsigned(b) / unsigned(plane), n = map / channels, q = b - map * plane;
    const int y = q / width, x = q - y * width, squares = count / channels;
    float sum = 0;
    for (int top = max(y - 1, 0); top <= y; ++top) {
      for (int left = max(x - 1, 0); left <= x; ++left) {
        for (int p = workspace[n * plane + top * width + left]; p >= 0; p = workspace[squares + p]) {
          const Seen s = seen_by(flow_data, n, p - n * plane, height, width);
          const float of_row = (top == y ? 1 - s.beta : 0) + (min(top + 1, height - 1) == y ? s.beta : 0);
          const float of_column = (left == x ? 1 - s.alpha : 0) + (min(left + 1, width - 1) == x ? s.alpha : 0);
          sum += of_row * of_column * top_diff[map * plane + p - n * plane];
        }
      }
    }
    image_diff[b] = sum;
  }
}

// flow_diff[n, a, y, x] = sum over c of top_diff[n, c, y, x] * the image's slope along a there; 0 outside
extern "C" __global__ void flow_warp_backward_flow(
    int count, const float* image_data, const float* flow_data, const float* top_diff, int channels, int height,
    int width, float* flow_diff) {
  const int plane = height * width;
  FOR_EACH(f, count) {
    const int map = unsigned(f) / unsigned(plane), n = map / 2, pixel = f - map * plane;
    const Seen s = seen_by(flow_data, n, pixel, height, width);
    float sum = 0;
    for (int c = 0; s.inside && c < channels; ++c) {
      const int start = (n * channels + c) * plane;
      const float* const image = image_data + start;
      const int low = min(s.top + 1, height - 1), right = min(s.left + 1, width - 1);
      const float tl = image[s.top * width + s.left], tr = image[s.top * width + right];
      const float bl = image[low * width + s.left], br = image[low * width + right];
      const float first = map % 2 ? bl - tl : tr - tl, second = map % 2 ? br - tr : br - bl;
      sum += top_diff[start + pixel] * (first + (map % 2 ? s.alpha : s.beta) * (second - first));
    }
    flow_diff[f] = sum;
  }
}
