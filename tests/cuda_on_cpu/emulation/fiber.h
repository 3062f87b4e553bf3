// Contexts of execution and the switch between them, told to the sanitizers where there are any.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the switch between fibers is written for x86-64 Linux"
#endif

#if defined(EMU_ADDRESS)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(EMU_THREAD)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace emu {

struct Context {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  size_t stack_bytes = 0;
  void* sanitizer_state = nullptr;  // ASan: saved fake stack; TSan: its own notion of a fiber
};

// What TSan takes a device thread for. They cost half a millisecond each, so they are kept: used again when what ran on
// them is ordered before what comes, and thrown away when some did not return.
constexpr size_t sanitizer_fibers = 1024;  // as many as a block may have threads
void* sanitizer_fiber();
void reuse_sanitizer_fibers(bool all_returned);

// Saves the callee-saved registers and the stack pointer, loads the other's, and returns there. The floating-point
// control words are the same in all contexts of an OS thread, so they stay.
extern "C" void emu_switch(void** save_stack_pointer, void* stack_pointer);

// What happened before in `from` is not made visible to `to` (TSan's flag 1): only barriers order device threads.
inline void switch_context(Context& from, Context& to) {
#if defined(EMU_ADDRESS)
  __sanitizer_start_switch_fiber(&from.sanitizer_state, to.stack, to.stack_bytes);
#elif defined(EMU_THREAD)
  __tsan_switch_to_fiber(to.sanitizer_state, 1);
#endif
  emu_switch(&from.stack_pointer, to.stack_pointer);
#if defined(EMU_ADDRESS)
  __sanitizer_finish_switch_fiber(from.sanitizer_state, nullptr, nullptr);
#endif
}

// The first thing on a new stack.
inline void entered() {
#if defined(EMU_ADDRESS)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

// Tells the sanitizers, in `context`, what this OS thread's own stack is.
inline void describe_this_thread(Context& context) {
#if defined(EMU_ADDRESS)
  pthread_attr_t attributes;
  void* stack;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &stack, &context.stack_bytes);
  pthread_attr_destroy(&attributes);
  context.stack = static_cast<char*>(stack);
#elif defined(EMU_THREAD)
  context.sanitizer_state = __tsan_get_current_fiber();
#else
  (void)context;
#endif
}

// Lays out `context`'s stack so that switching to it calls `entry`, which must not return. `offset` moves the top down:
// the tops of many stacks would otherwise share the same cache sets.
inline void prepare(Context& context, void (*entry)(), size_t offset) {
#if defined(EMU_ADDRESS)
  __asan_unpoison_memory_region(context.stack, context.stack_bytes);
#endif
  void** top = reinterpret_cast<void**>(context.stack + context.stack_bytes - offset);
  *--top = nullptr;  // the return address that `entry` believes to have
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  context.stack_pointer = top;
}

// Happens-before edges for TSan: all that was released at `address` so far is visible after an acquire.
inline void release(void* address) {
#if defined(EMU_THREAD)
  __tsan_release(address);
#else
  (void)address;
#endif
}
inline void acquire(void* address) {
#if defined(EMU_THREAD)
  __tsan_acquire(address);
#else
  (void)address;
#endif
}

}  // namespace emu
