// What every kernel file has in common.
#pragma once

// A grid-stride loop: the launch decides how many threads, the loop covers every element. i never passes count, so that
// it cannot overflow.
#define FOR_EACH(i, count)                                                    \
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (count);            \
       i += min(int(gridDim.x * blockDim.x), (count) - i))

#define FLT_LOWEST (-3.402823466e+38f)
#define FLT_TINY 1.175494351e-38f  // the smallest normal float, Caffe's FLT_MIN
