// Maps of gradients.     NumPy: caffepy/saliency/gradient.py
//
// Layout     gradient (num, channels, inner), maps (num, inner); `count` elements of maps.
// Launch     1-D, any grid (grid-stride): a thread per position, so that neighbours read neighbours. Deterministic.
// Source     Simonyan, Vedaldi & Zisserman 2013, section 3.1.
#include "common.cuh"

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
