#include "fiber.h"

#include <cstdlib>

asm(R"(
.text
.globl emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx  # not ret, which the processor would predict from the calls of another stack
.size emu_switch, .-emu_switch
)");

namespace emu {

#if defined(EMU_THREAD)

namespace {
void* fibers[sanitizer_fibers];  // no vector: TSan would see what the blocks' OS threads do to it
size_t made = 0, in_use = 0;
}  // namespace

void* sanitizer_fiber() {
  if (in_use == sanitizer_fibers) abort();
  if (in_use == made) fibers[made++] = __tsan_create_fiber(0);
  return fibers[in_use++];
}

void reuse_sanitizer_fibers(bool all_returned) {
  in_use = 0;
  while (!all_returned && made) __tsan_destroy_fiber(fibers[--made]);
}

#else

void* sanitizer_fiber() { return nullptr; }
void reuse_sanitizer_fibers(bool) {}

#endif

}  // namespace emu
