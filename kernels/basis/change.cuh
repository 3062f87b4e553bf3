// Neighbours in memory, four at once or one, read, changed and written.
#pragma once

// to[v] = f(to[v], values[v]), `vector` of them.
template <int vector, class F>
__device__ __forceinline__ void change(float* to, const float* values, const F& f) {
  if constexpr (vector == 4) {
    float4* const four = reinterpret_cast<float4*>(to);
    const float4 old = *four;
    *four = make_float4(f(old.x, values[0]), f(old.y, values[1]), f(old.z, values[2]), f(old.w, values[3]));
  } else {
    *to = f(*to, *values);
  }
}
