// What a compiled kernel file sees of the runtime (runtime.cpp): its own indices, and every way to wait.
#pragma once
#include <cstddef>

struct uint3 {
  unsigned x, y, z;
};

namespace emu {

// A place in a kernel's text. `Site site = Site::here()` as a default argument is the place of the call.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// The device thread that this OS thread runs now. One read, not a call: the kernels' inner loops use it.
struct Self {
  uint3 thread, block, block_size, grid_size;
  unsigned lane;
};
extern __attribute__((tls_model("initial-exec"))) thread_local Self self;

// Waits for every living thread of the block; returns for how many of them `predicate` held.
int wait_for_block(bool predicate, Site site);

void fence();

// One warp-wide exchange: lanes join with the same mask, write their slot, wait, read others' slots, leave.
struct Meeting {
  alignas(64) char slot[32][64];
  unsigned mask, arrived, staying;
  Site site;
  bool open;
};
Meeting* join(unsigned mask, Site site);
void wait_for_lanes(Meeting* meeting);
void leave(Meeting* meeting);

// cp.async: the bytes are held back until the issuing thread waits for their group, so that a missing wait shows.
struct PendingCopy {
  void* to;
  size_t bytes;
  int group;
  alignas(16) char data[16];
};
PendingCopy* begin_copy();
void commit_copies();
PendingCopy* next_landed_copy(int groups_in_flight);  // null when all have landed; -1: uncommitted ones land too

void* dynamic_shared();

// Ends the launch with `message`; the device thread does not go on.
[[noreturn]] void fail(const char* message);

}  // namespace emu
