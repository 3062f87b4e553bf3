#include "scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "memory.h"

namespace emu {

thread_local Self self;
thread_local Scheduler* scheduler = nullptr;

namespace {

#if defined(EMU_THREAD)
constexpr bool fiber_a_thread = true;  // TSan tells threads apart by their fibers
#else
constexpr bool fiber_a_thread = false;
#endif
#if defined(EMU_ADDRESS) || defined(EMU_THREAD)
constexpr size_t stack_bytes = 256 * 1024;  // instrumented frames are several times larger
#else
constexpr size_t stack_bytes = 64 * 1024;
#endif
constexpr size_t guard_bytes = 4096;  // below each stack, so that an overflow is a fault and not silence

bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0); }

}  // namespace

Scheduler::Scheduler(unsigned max_threads) : fibers_(max_threads), warps_((max_threads + 31) / 32) {
  stacks_ = static_cast<char*>(mmap(nullptr, max_threads * (guard_bytes + stack_bytes), PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (stacks_ == MAP_FAILED) abort();
  for (unsigned i = 0; i < max_threads; ++i) {
    char* guard = stacks_ + i * (guard_bytes + stack_bytes);
    mprotect(guard, guard_bytes, PROT_NONE);
    fibers_[i].context.stack = guard + guard_bytes;
    fibers_[i].context.stack_bytes = stack_bytes;
    fibers_[i].number = i;
  }
}

Scheduler::~Scheduler() {
  if (shared_) emu_free(shared_);
  munmap(stacks_, fibers_.size() * (guard_bytes + stack_bytes));
}

void Scheduler::load(const Kernel& kernel, Schedule schedule, unsigned seed) {
  if (shared_ && kernel.shared_bytes != kernel_.shared_bytes) {
    emu_free(shared_);
    shared_ = nullptr;
  }
  if (!shared_ && kernel.shared_bytes) shared_ = static_cast<char*>(emu_allocate(kernel.shared_bytes));
  kernel_ = kernel;
  schedule_ = schedule;
  random_.seed(seed);
  order_.clear();
  uint3 index = {0, 0, 0};
  for (unsigned i = 0; i < kernel.block.x * kernel.block.y * kernel.block.z; ++i) {
    fibers_[i].index = index;
    order_.push_back(&fibers_[i]);
    if (++index.x == kernel.block.x) {
      index.x = 0;
      if (++index.y == kernel.block.y) index.y = 0, ++index.z;
    }
  }
  if (schedule == Schedule::descending) std::reverse(order_.begin(), order_.end());
  describe_this_thread(own_);
}

bool Scheduler::run_block(uint3 block) {
  begin(block);
  while (done_ < order_.size() && !*error_) {
    if (waiting_ && done_ + waiting_ == order_.size()) release_barrier();
    if (schedule_ == Schedule::random) std::shuffle(order_.begin(), order_.end(), random_);
    position_ = 0;
    if (Fiber* first = next_runnable()) switch_to(first, own_);
    else if (!*error_ && !close_meetings_left_by_returned_threads()) report_deadlock();
  }
  acquire(&done_sync_);
  if (!*error_) return true;
  for (char& sync : barrier_sync_) acquire(&sync);  // of those who wait for ever
  for (Warp& warp : warps_)
    for (Meeting& meeting : warp.meetings) acquire(&meeting);
  return false;
}

void Scheduler::begin(uint3 block) {
  self.block = block;
  self.block_size = kernel_.block;
  self.grid_size = kernel_.grid;
  waiting_ = done_ = 0;
  for (Fiber* fiber : order_) {
    fiber->state = State::fresh;
    fiber->copies.clear();
    fiber->landed = 0;
    fiber->groups = 0;
    fiber->context.sanitizer_state = sanitizer_fiber();
  }
  release(&begin_sync_);
}

// The next in this round of turns, or null: then it is for run_block to see what all are waiting for.
Fiber* Scheduler::next_runnable() {
  while (position_ < order_.size()) {
    Fiber* fiber = order_[position_++];
    if (fiber->state == State::fresh || fiber->state == State::ready) return fiber;
  }
  return nullptr;
}

void Scheduler::become(Fiber& fiber) {
  running_ = &fiber;
  self.thread = fiber.index;
  self.lane = fiber.number % 32;
}

// From fiber to fiber where it can be, for half the switches; null stands for run_block.
void Scheduler::switch_to(Fiber* next, Context& from) {
  if (!next) {
    running_ = nullptr;
    switch_context(from, own_);
    return;
  }
  if (next->state == State::fresh) prepare(next->context, &Scheduler::thread_main, next->number % 16 * 192);
  become(*next);
  switch_context(from, next->context);
}

// What a fiber runs: its device thread and then, on the same stack and without a switch, threads not yet started. A
// kernel that never waits costs a call a thread.
void Scheduler::thread_main() {
  Scheduler& s = *scheduler;
  entered();
  acquire(&s.begin_sync_);
  for (;;) {
    s.running_->state = State::ready;
    s.kernel_.run(s.kernel_.arguments);
    Fiber& finished = *s.running_;
    finished.state = State::done;
    ++s.done_;
    release(&s.done_sync_);
    Fiber* next = s.next_runnable();
    if (next && next->state == State::fresh && !fiber_a_thread) {
      std::swap(next->context.stack, finished.context.stack);
      s.become(*next);
    } else {
      s.switch_to(next, finished.context);
    }
  }
}

int Scheduler::wait_for_block(bool predicate, Site site) {
  Fiber& me = *running_;
  // Two addresses in turn: a thread already past this barrier and at the next must not be ordered before one that
  // still has to leave this one, or TSan would miss the races between the two.
  char* sync = &barrier_sync_[barriers_ % 2];
  me.predicate = predicate;
  me.site = site;
  me.state = State::at_barrier;
  ++waiting_;
  release(sync);
  switch_to(next_runnable(), me.context);
  acquire(sync);
  return barrier_result_;
}

// Threads that have returned are not waited for, as on sm_70 and later.
void Scheduler::release_barrier() {
  const Fiber* first = nullptr;
  barrier_result_ = 0;
  for (Fiber* fiber : order_) {
    if (fiber->state != State::at_barrier) continue;
    if (!first) first = fiber;
    if (!same(fiber->site, first->site)) {
      say("block (%u,%u,%u): divergent barrier: threads wait at %s:%d and at %s:%d", self.block.x, self.block.y,
          self.block.z, first->site.file, first->site.line, fiber->site.file, fiber->site.line);
      return;
    }
    barrier_result_ += fiber->predicate;
    fiber->state = State::ready;
  }
  waiting_ = 0;
  ++barriers_;
}

unsigned Scheduler::living_lanes(unsigned warp) const {
  unsigned living = 0;
  for (size_t i = warp * 32; i < order_.size() && i < warp * 32 + 32; ++i)
    if (fibers_[i].state != State::done) living |= 1u << i % 32;
  return living;
}

Meeting* Scheduler::join(unsigned mask, Site site) {
  Fiber& me = *running_;
  Warp& warp = warps_[me.number / 32];
  if (!(mask >> self.lane & 1)) fail("a warp function whose mask leaves out the calling lane");
  Meeting* meeting = nullptr;
  for (Meeting& candidate : warp.meetings) {
    if (candidate.open && candidate.mask == mask) {
      meeting = &candidate;
      break;
    }
    if (!candidate.staying && !candidate.open) meeting = &candidate;
  }
  if (!meeting) meeting = &warp.meetings.emplace_back();
  if (!meeting->open) {
    meeting->open = true;
    meeting->mask = mask;
    meeting->site = site;
    meeting->arrived = meeting->staying = 0;
  }
  if (!same(meeting->site, site)) {
    say("block (%u,%u,%u): divergent warp: lanes of warp %u meet at %s:%d and at %s:%d", self.block.x, self.block.y,
        self.block.z, me.number / 32, meeting->site.file, meeting->site.line, site.file, site.line);
    give_up();
  }
  return meeting;
}

void Scheduler::wait_for_lanes(Meeting* meeting) {
  Fiber& me = *running_;
  meeting->arrived |= 1u << self.lane;
  ++meeting->staying;
  me.state = State::in_meeting;
  me.site = meeting->site;
  release(meeting);
  const unsigned warp = me.number / 32, lanes = std::min<size_t>(32, order_.size() - warp * 32);
  const unsigned needed = meeting->mask & (lanes < 32 ? (1u << lanes) - 1 : ~0u);
  if (meeting->arrived == needed) close(*meeting, warp);
  if (me.state != State::ready || schedule_ == Schedule::random) switch_to(next_runnable(), me.context);
  acquire(meeting);
}

// All have come who will: they may read. Who reads a lane that did not come reads poison.
void Scheduler::close(Meeting& meeting, unsigned warp) {
  meeting.open = false;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (meeting.arrived >> lane & 1) fibers_[warp * 32 + lane].state = State::ready;
    else for (volatile char& byte : meeting.slot[lane]) byte = -1;  // not memset, which TSan would see
  }
}

bool Scheduler::close_meetings_left_by_returned_threads() {
  bool any = false;
  for (unsigned warp = 0; warp < warps_.size(); ++warp)
    for (Meeting& meeting : warps_[warp].meetings)
      if (meeting.open && meeting.arrived == (meeting.mask & living_lanes(warp))) {
        close(meeting, warp);
        any = true;
      }
  return any;
}

void Scheduler::report_deadlock() {
  const Fiber *barrier = nullptr, *meeting = nullptr;
  for (const Fiber* fiber : order_) {
    if (fiber->state == State::at_barrier && !barrier) barrier = fiber;
    if (fiber->state == State::in_meeting && !meeting) meeting = fiber;
  }
  const Site nowhere = {"nowhere", 0};
  const Site at = barrier ? barrier->site : nowhere, in = meeting ? meeting->site : nowhere;
  say("block (%u,%u,%u): deadlock: of %zu threads %zu wait at a barrier (%s:%d), %zu for lanes of their warp (%s:%d), "
      "%zu have returned",
      self.block.x, self.block.y, self.block.z, order_.size(), waiting_, at.file, at.line,
      order_.size() - waiting_ - done_, in.file, in.line, done_);
}

void Scheduler::say(const char* format, ...) {
  if (*error_) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error_, sizeof error_, format, arguments);
  va_end(arguments);
}

void Scheduler::fail(const char* message) {
  say("thread (%u,%u,%u) of block (%u,%u,%u): %s", self.thread.x, self.thread.y, self.thread.z, self.block.x,
      self.block.y, self.block.z, message);
  give_up();
}

void Scheduler::give_up() {
  release(&done_sync_);
  for (;;) switch_to(nullptr, running_->context);
}

void* Scheduler::top_of_stack() const {
  return running_->context.stack + running_->context.stack_bytes - 8;  // aligned as a call leaves it
}

bool Scheduler::in_stack_guard(const void* address) const {
  const char* stack = running_->context.stack;
  return address < stack && address >= stack - guard_bytes;
}

}  // namespace emu
