// Launches over planes, n * c of them, of height x width: a block's threads are columns along x, rows along y, planes
// along z; tiles of columns, rows and planes are the grid's z, y and x. So no thread divides to know where it is.
#pragma once

struct Position {
  int plane, h, w;
};

__device__ __forceinline__ Position position() {
  return {int(blockIdx.x * blockDim.z + threadIdx.z), int(blockIdx.y * blockDim.y + threadIdx.y),
          int(blockIdx.z * blockDim.x + threadIdx.x)};
}
