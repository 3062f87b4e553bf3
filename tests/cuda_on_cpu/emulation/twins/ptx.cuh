// Stands in for kernels/basis/ptx.cuh: the same functions, without the machine's instructions.
#pragma once

// Rounds to the 10 bits of mantissa of TF32: to nearest, ties away from zero (cvt.rna). All NaNs become one.
inline unsigned ptx_cvt_tf32(float x) {
  if (x != x) return 0x7fffffffu;
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits += 0x1000u;
  return bits & 0xffffe000u;
}

// d += a b for a 16x8 matrix a and an 8x8 matrix b spread over the warp as PTX lays out mma.m16n8k8 (tf32): with
// group = lane / 4 and t = lane % 4, a lane holds a(group + 8 (i % 2), t + 4 (i / 2)), b(t + 4 i, group) and
// d(group + 8 (i / 2), 2 t + i % 2).
inline void ptx_mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                 emu::Site site = emu::Site::here()) {
  struct Operands {
    unsigned a[4], b[2];
  } mine;
  memcpy(mine.a, a, sizeof a);
  memcpy(mine.b, b, sizeof b);
  const emu::Exchange<Operands> warp(~0u, mine, site);
  // The tensor core does not see a TF32 operand's 13 lowest bits.
  const auto tf32 = [](unsigned bits) { return __uint_as_float(bits & 0xffffe000u); };
  const int group = emu::self.lane / 4, t = emu::self.lane % 4;
  for (int k = 0; k < 8; ++k) {
    const Operands row = warp.of(4 * group + k % 4), left = warp.of(4 * (2 * t) + k % 4),
                   right = warp.of(4 * (2 * t + 1) + k % 4);
    for (int i = 0; i < 4; ++i)
      d[i] = fmaf(tf32(row.a[i / 2 + 2 * (k / 4)]), tf32((i % 2 ? right : left).b[k / 4]), d[i]);
  }
}

// Rounded to nearest, ties to even; beyond the largest infinite.
inline unsigned emu_fp16(float x) {
  const _Float16 rounded = static_cast<_Float16>(x);
  unsigned short bits;
  memcpy(&bits, &rounded, sizeof bits);
  return x != x ? 0x7fffu : bits;
}
inline unsigned emu_bf16(float x) {
  if (x != x) return 0x7fffu;
  const unsigned bits = __float_as_uint(x);
  return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}
inline unsigned ptx_cvt_fp16x2(float first, float second) { return emu_fp16(first) | emu_fp16(second) << 16; }
inline unsigned ptx_cvt_bf16x2(float first, float second) { return emu_bf16(first) | emu_bf16(second) << 16; }
inline float ptx_float_of_fp16(unsigned short x) {
  _Float16 number;
  memcpy(&number, &x, sizeof number);
  return static_cast<float>(number);
}

// d += a b for a 16x16 matrix a and a 16x8 matrix b, two numbers to a register, as PTX lays out mma.m16n8k16: with
// group = lane / 4 and t = lane % 4, half h of a register, a lane holds a(group + 8 (i % 2), 2 t + h + 8 (i / 2)),
// b(2 t + h + 8 i, group) and d(group + 8 (i / 2), 2 t + i % 2).
template <int format>
inline void ptx_mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                             emu::Site site = emu::Site::here()) {
  struct Operands {
    unsigned a[4], b[2];
  } mine;
  memcpy(mine.a, a, sizeof a);
  memcpy(mine.b, b, sizeof b);
  const emu::Exchange<Operands> warp(~0u, mine, site);
  const auto number = [](unsigned both, int h) {
    const unsigned bits = h ? both >> 16 : both & 0xffffu;
    return format == 1 ? ptx_float_of_fp16(static_cast<unsigned short>(bits)) : __uint_as_float(bits << 16);
  };
  const int group = emu::self.lane / 4, t = emu::self.lane % 4;
  for (int k = 0; k < 16; ++k) {
    const int owner = k % 8 / 2, second = k / 8;
    const Operands row = warp.of(4 * group + owner), left = warp.of(4 * (2 * t) + owner),
                   right = warp.of(4 * (2 * t + 1) + owner);
    for (int i = 0; i < 4; ++i)
      d[i] = fmaf(number(row.a[i / 2 + 2 * second], k % 2), number((i % 2 ? right : left).b[second], k % 2), d[i]);
  }
}

namespace emu {
inline void start_copy(void* shared, const void* global, size_t bytes, bool read) {
  if (reinterpret_cast<size_t>(shared) % bytes) fail("cp.async to a misaligned shared address");
  if (read && reinterpret_cast<size_t>(global) % bytes) fail("cp.async from a misaligned global address");
  PendingCopy* copy = begin_copy();
  copy->to = shared;
  copy->bytes = bytes;
  if (read) memcpy(copy->data, global, bytes);
  else memset(copy->data, 0, bytes);
}
inline void land_copies(int groups_in_flight) {
  while (const PendingCopy* copy = next_landed_copy(groups_in_flight)) memcpy(copy->to, copy->data, copy->bytes);
}
}  // namespace emu

// 16 bytes from global to shared memory, or 16 zeros; they are there once the thread has waited for their group.
inline void ptx_cp_async16(void* shared, const void* global, bool read) { emu::start_copy(shared, global, 16, read); }
inline void ptx_cp_async_commit() { emu::commit_copies(); }
template <int groups_in_flight>
inline void ptx_cp_async_wait() {
  emu::land_copies(groups_in_flight);
}
