// The kernels' side of the scheduler.
#include "runtime.h"

#include "scheduler.h"

namespace emu {

int wait_for_block(bool predicate, Site site) { return scheduler->wait_for_block(predicate, site); }
Meeting* join(unsigned mask, Site site) { return scheduler->join(mask, site); }
void wait_for_lanes(Meeting* meeting) { scheduler->wait_for_lanes(meeting); }
void leave(Meeting* meeting) { --meeting->staying; }
void* dynamic_shared() { return scheduler->shared(); }
void fail(const char* message) { scheduler->fail(message); }

void fence() {
  static char sync;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  acquire(&sync);
  release(&sync);
}

PendingCopy* begin_copy() {
  Fiber& me = scheduler->running();
  if (me.landed > 64) {
    me.copies.erase(me.copies.begin(), me.copies.begin() + me.landed);
    me.landed = 0;
  }
  PendingCopy& copy = me.copies.emplace_back();
  copy.group = me.groups;
  return &copy;
}

void commit_copies() { ++scheduler->running().groups; }

PendingCopy* next_landed_copy(int groups_in_flight) {
  Fiber& me = scheduler->running();
  if (me.landed == me.copies.size() || me.copies[me.landed].group >= me.groups - groups_in_flight) return nullptr;
  return &me.copies[me.landed++];
}

}  // namespace emu
