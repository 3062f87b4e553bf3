// What a ReLU makes of a value, in its own kernel and at the end of those that it is fused with.
//
// Constants  negative_slope   what is below 0 is multiplied by it; 1 where there is no ReLU
#pragma once

__device__ __forceinline__ float rectified(float x) {
  const float below = negative_slope == 0 ? 0 : negative_slope * x;  // 0 times -infinity is no 0
  return x < 0 ? below : x;
}
