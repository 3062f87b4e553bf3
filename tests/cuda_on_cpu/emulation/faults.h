// A device thread that faults ends its launch with a message; the process lives.
#pragma once
#include <signal.h>

namespace emu {

// While one exists, SIGSEGV, SIGBUS, SIGFPE and SIGILL on a fiber become Scheduler::fail; elsewhere they go to the
// handlers found before. Not in sanitizer builds, which report such faults better.
class FaultHandlers {
 public:
  FaultHandlers();
  ~FaultHandlers();
};

// A stack for the handlers on this OS thread: the fiber's own may be what overflowed.
class FaultStack {
 public:
  FaultStack();
  ~FaultStack();

 private:
  stack_t saved_;
  alignas(16) char memory_[64 * 1024];
};

}  // namespace emu
