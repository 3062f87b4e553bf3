// Whole numbers as floats, of which the whole part counts.
#pragma once

// Whether the number is one of 0 to limit - 1.
__device__ __forceinline__ bool is_class(float number, int limit) { return number > -1 && number < limit; }
