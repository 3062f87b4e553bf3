// Runs the device threads of one block, each a fiber, on one OS thread.
#pragma once
#include <deque>
#include <random>
#include <vector>

#include "fiber.h"
#include "runtime.h"

namespace emu {

enum class Schedule : int { ascending, descending, random };
enum class State { fresh, ready, at_barrier, in_meeting, done };

struct Kernel {
  void (*run)(void** arguments);
  void** arguments;
  uint3 grid, block;
  size_t shared_bytes;
};

struct Fiber {
  Context context;
  State state;
  uint3 index;
  unsigned number;  // in the block; its warp is number / 32
  Site site;
  bool predicate;
  std::vector<PendingCopy> copies;
  size_t landed;
  int groups;
};

struct Warp {
  std::deque<Meeting> meetings;  // one is reused for ever, unless lanes of the warp go different ways
};

class Scheduler {
 public:
  explicit Scheduler(unsigned max_threads);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;

  void load(const Kernel& kernel, Schedule schedule, unsigned seed);
  bool run_block(uint3 block);  // false: error() tells why, and it can run nothing more
  char* shared() const { return shared_; }
  const char* error() const { return error_; }

  // Called on fibers.
  int wait_for_block(bool predicate, Site site);
  Meeting* join(unsigned mask, Site site);
  void wait_for_lanes(Meeting* meeting);
  Fiber& running() { return *running_; }
  [[noreturn]] void fail(const char* message);

  [[noreturn]] void give_up();

  // For the handlers of faults: an interrupted fiber goes on, to give up, at the far end of its stack.
  bool on_fiber() const { return running_ != nullptr; }
  void* top_of_stack() const;
  bool in_stack_guard(const void* address) const;

 private:
  void begin(uint3 block);
  Fiber* next_runnable();
  void switch_to(Fiber* next, Context& from);
  void become(Fiber& fiber);
  static void thread_main();
  void release_barrier();
  bool close_meetings_left_by_returned_threads();
  void close(Meeting& meeting, unsigned warp);
  unsigned living_lanes(unsigned warp) const;
  void report_deadlock();
  void say(const char* format, ...) __attribute__((format(printf, 2, 3)));

  Kernel kernel_;
  Schedule schedule_;
  std::mt19937 random_;
  std::vector<Fiber> fibers_;  // as many as a block may have
  std::vector<Fiber*> order_;  // those that this kernel's block has
  std::vector<Warp> warps_;
  char* stacks_;
  char* shared_ = nullptr;
  Context own_;
  Fiber* running_ = nullptr;
  size_t position_ = 0, waiting_ = 0, done_ = 0;
  unsigned barriers_ = 0;
  int barrier_result_ = 0;
  char begin_sync_, barrier_sync_[2], done_sync_;  // addresses for release and acquire
  char error_[512] = "";
};

extern thread_local Scheduler* scheduler;  // of this OS thread, during a launch

}  // namespace emu
