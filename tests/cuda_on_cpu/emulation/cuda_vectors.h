// The vector types that kernels load and store whole, aligned as on the device: a misaligned one faults here too.
#pragma once

#define EMU_VECTOR_2(scalar, name, alignment)                               \
  struct alignas(alignment) name {                                          \
    scalar x, y;                                                            \
  };                                                                        \
  inline name make_##name(scalar x, scalar y) { return {x, y}; }            \
  template <>                                                               \
  struct emu::Element<name> {                                               \
    using type = scalar;                                                    \
  };
#define EMU_VECTOR_4(scalar, name, alignment)                                                     \
  struct alignas(alignment) name {                                                                \
    scalar x, y, z, w;                                                                            \
  };                                                                                              \
  inline name make_##name(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }        \
  template <>                                                                                     \
  struct emu::Element<name> {                                                                     \
    using type = scalar;                                                                          \
  };

namespace emu {
template <class T>
struct Element {  // what an array is made of, for the check of a launch's arguments
  using type = T;
};
}  // namespace emu

EMU_VECTOR_2(float, float2, 8)
EMU_VECTOR_4(float, float4, 16)
EMU_VECTOR_2(int, int2, 8)
EMU_VECTOR_4(int, int4, 16)
EMU_VECTOR_2(unsigned, uint2, 8)
EMU_VECTOR_4(unsigned, uint4, 16)

struct float3 {
  float x, y, z;
};
struct int3 {
  int x, y, z;
};
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
