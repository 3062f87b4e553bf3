// Barriers, warp functions and atomics.
#pragma once

#if defined(EMU_THREAD)  // what lanes hand each other in a meeting is not a race: out of TSan's sight
#define EMU_UNSEEN __attribute__((noinline, no_sanitize("thread")))
#else
#define EMU_UNSEEN
#endif

inline void __syncthreads(emu::Site site = emu::Site::here()) { emu::wait_for_block(true, site); }
inline int __syncthreads_count(int predicate, emu::Site site = emu::Site::here()) {
  return emu::wait_for_block(predicate != 0, site);
}
inline int __syncthreads_or(int predicate, emu::Site site = emu::Site::here()) {
  return emu::wait_for_block(predicate != 0, site) != 0;
}
inline int __syncthreads_and(int predicate, emu::Site site = emu::Site::here()) {
  return emu::wait_for_block(predicate == 0, site) == 0;
}
inline void __threadfence() { emu::fence(); }
inline void __threadfence_block() { emu::fence(); }

namespace emu {

// Every lane of `mask` brings a value; then each may read the others' until it leaves.
template <class T>
class Exchange {
 public:
  Exchange(unsigned mask, const T& mine, Site site) : meeting_(join(mask, site)) {
    static_assert(sizeof(T) <= sizeof meeting_->slot[0], "a lane's value fits its slot");
    put(meeting_->slot[self.lane], mine);
    wait_for_lanes(meeting_);
  }
  ~Exchange() { leave(meeting_); }
  T of(unsigned lane) const { return get(meeting_->slot[lane & 31]); }
  unsigned arrived() const { return meeting_->arrived; }

 private:
  EMU_UNSEEN static void put(char* slot, const T& value) { __builtin_memcpy(slot, &value, sizeof value); }
  EMU_UNSEEN static T get(const char* slot) {
    T value;
    __builtin_memcpy(&value, slot, sizeof value);
    return value;
  }
  Meeting* meeting_;
};

}  // namespace emu

inline void __syncwarp(unsigned mask = ~0u, emu::Site site = emu::Site::here()) { emu::Exchange<char>(mask, 0, site); }

// Lanes are taken in sections of `width`; one that would read past its section's end keeps its own value.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int from, int width = 32, emu::Site site = emu::Site::here()) {
  const int section = emu::self.lane & ~(width - 1);
  return emu::Exchange<T>(mask, value, site).of(section + (from & (width - 1)));
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32, emu::Site site = emu::Site::here()) {
  const int me = emu::self.lane, other = me ^ flip;
  return emu::Exchange<T>(mask, value, site).of((other & ~(width - 1)) > (me & ~(width - 1)) ? me : other);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, emu::Site site = emu::Site::here()) {
  const int me = emu::self.lane, in_section = me & (width - 1);
  return emu::Exchange<T>(mask, value, site).of(in_section + int(delta) < width ? me + delta : me);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, emu::Site site = emu::Site::here()) {
  const int me = emu::self.lane, in_section = me & (width - 1);
  return emu::Exchange<T>(mask, value, site).of(in_section >= int(delta) ? me - delta : me);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, emu::Site site = emu::Site::here()) {
  const emu::Exchange<bool> votes(mask, predicate != 0, site);
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (votes.arrived() >> lane & 1 && votes.of(lane)) ballot |= 1u << lane;
  return ballot;
}
inline int __any_sync(unsigned mask, int predicate, emu::Site site = emu::Site::here()) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, emu::Site site = emu::Site::here()) {
  return __ballot_sync(mask, predicate == 0, site) == 0;
}

// Blocks may run on several OS threads. Relaxed, as on the device: order comes from fences and barriers.
#define EMU_ATOMIC(name, builtin)                                                                       \
  inline int name(int* at, int value) { return builtin(at, value, __ATOMIC_RELAXED); }                  \
  inline unsigned name(unsigned* at, unsigned value) { return builtin(at, value, __ATOMIC_RELAXED); }   \
  inline unsigned long long name(unsigned long long* at, unsigned long long value) {                    \
    return builtin(at, value, __ATOMIC_RELAXED);                                                        \
  }
EMU_ATOMIC(atomicAdd, __atomic_fetch_add)
EMU_ATOMIC(atomicSub, __atomic_fetch_sub)
EMU_ATOMIC(atomicAnd, __atomic_fetch_and)
EMU_ATOMIC(atomicOr, __atomic_fetch_or)
EMU_ATOMIC(atomicXor, __atomic_fetch_xor)
EMU_ATOMIC(atomicExch, __atomic_exchange_n)

template <class T>
inline T atomicCAS(T* at, T expected, T desired) {
  __atomic_compare_exchange_n(at, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

namespace emu {
// Replaces the bits at `at` by those of change(old), atomically; returns the old value.
template <class Bits, class T, class Change>
inline T atomically(T* at, Change change) {
  Bits* bits_at = reinterpret_cast<Bits*>(at);
  Bits old = __atomic_load_n(bits_at, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(bits_at, &old, bits<Bits>(change(bits<T>(old))), false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
  return bits<T>(old);
}
}  // namespace emu
inline int atomicMin(int* at, int value) {
  return emu::atomically<int>(at, [=](int old) { return old < value ? old : value; });
}
inline int atomicMax(int* at, int value) {
  return emu::atomically<int>(at, [=](int old) { return old > value ? old : value; });
}
inline unsigned atomicMin(unsigned* at, unsigned value) {
  return emu::atomically<unsigned>(at, [=](unsigned old) { return old < value ? old : value; });
}
inline unsigned atomicMax(unsigned* at, unsigned value) {
  return emu::atomically<unsigned>(at, [=](unsigned old) { return old > value ? old : value; });
}
inline float atomicAdd(float* at, float value) {
  return emu::atomically<unsigned>(at, [=](float old) { return old + value; });
}
inline float atomicExch(float* at, float value) {
  return emu::atomically<unsigned>(at, [=](float) { return value; });
}
