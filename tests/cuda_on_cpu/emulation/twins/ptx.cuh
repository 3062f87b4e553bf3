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
