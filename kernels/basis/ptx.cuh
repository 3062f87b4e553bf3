// Machine instructions that CUDA C++ has no functions for, all of them here: sm_80 and newer.
//
// Source     NVIDIA, PTX ISA, "cvt" and "Matrix Fragments" for mma.m16n8k8 and mma.m16n8k16.
#pragma once

// x rounded to the 10 bits of mantissa of TF32: to nearest, ties away from zero.
__device__ __forceinline__ unsigned ptx_cvt_tf32(float x) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
  return rounded;
}

// d += a b for a 16x8 matrix a and an 8x8 matrix b spread over the warp: with group = lane / 4 and t = lane % 4, a lane
// holds a(group + 8 (i % 2), t + 4 (i / 2)), b(t + 4 i, group) and d(group + 8 (i / 2), 2 t + i % 2).
__device__ __forceinline__ void ptx_mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Two numbers rounded to nearest, ties to even, the first in the lower half; beyond the largest they become infinite.
__device__ __forceinline__ unsigned ptx_cvt_fp16x2(float first, float second) {
  unsigned both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
  return both;
}
__device__ __forceinline__ unsigned ptx_cvt_bf16x2(float first, float second) {
  unsigned both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
  return both;
}

__device__ __forceinline__ float ptx_float_of_fp16(unsigned short x) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x));
  return wide;
}

// d += a b for a 16x16 matrix a and a 16x8 matrix b of fp16 (format 1) or bf16 (2), two to a register, spread over the
// warp: with group = lane / 4 and t = lane % 4, half h of a register, a lane holds a(group + 8 (i % 2), 2 t + h +
// 8 (i / 2)), b(2 t + h + 8 i, group) and d(group + 8 (i / 2), 2 t + i % 2).
template <int format>
__device__ __forceinline__ void ptx_mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  if constexpr (format == 1)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
