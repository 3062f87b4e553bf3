#include "faults.h"

#include <ucontext.h>

#include <cstdint>
#include <cstdio>

#include "memory.h"
#include "scheduler.h"

namespace emu {

#if defined(EMU_ADDRESS) || defined(EMU_THREAD)

FaultHandlers::FaultHandlers() {}
FaultHandlers::~FaultHandlers() {}
FaultStack::FaultStack() {}
FaultStack::~FaultStack() {}

#else

namespace {

constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
struct sigaction saved[4];

struct Fault {
  int signal, code;
  const void* address;
};
thread_local Fault fault;

// On the fiber again, after the handler has returned: here locks and formatting are safe.
void give_up() {
  char where[160], message[256];
  describe(fault.address, where, sizeof where);
  if (fault.signal == SIGFPE)
    snprintf(message, sizeof message, "integer division by zero");
  else if (fault.signal == SIGILL)
    snprintf(message, sizeof message, "trap");
  else if (scheduler->in_stack_guard(fault.address))
    snprintf(message, sizeof message, "local arrays and calls need more than the emulated thread's stack");
  else if (fault.code == SI_KERNEL)  // the processor refuses a misaligned vector access without giving the address
    snprintf(message, sizeof message, "misaligned access to a vector type (float4, int2, ...)");
  else
    snprintf(message, sizeof message, "access out of bounds: %s", where);
  scheduler->fail(message);
}

void handle(int signal, siginfo_t* info, void* machine) {
  if (!scheduler || !scheduler->on_fiber()) {  // not ours: the fault comes again, under the handler from before
    for (int i = 0; i < 4; ++i)
      if (signals[i] == signal) sigaction(signal, &saved[i], nullptr);
    return;
  }
  fault = {signal, info->si_code, info->si_addr};
  greg_t* registers = static_cast<ucontext_t*>(machine)->uc_mcontext.gregs;
  registers[REG_RSP] = reinterpret_cast<greg_t>(scheduler->top_of_stack());
  registers[REG_RIP] = reinterpret_cast<greg_t>(&give_up);
}

}  // namespace

FaultHandlers::FaultHandlers() {
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < 4; ++i) sigaction(signals[i], &action, &saved[i]);
}

FaultHandlers::~FaultHandlers() {
  for (int i = 0; i < 4; ++i) sigaction(signals[i], &saved[i], nullptr);
}

FaultStack::FaultStack() {
  stack_t stack = {};
  stack.ss_sp = memory_;
  stack.ss_size = sizeof memory_;
  sigaltstack(&stack, &saved_);
}

FaultStack::~FaultStack() { sigaltstack(&saved_, nullptr); }

#endif

}  // namespace emu
