#include "memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace {

struct Allocation {
  void* mapping;
  size_t mapped, bytes;
};

constexpr size_t page = 4096, fence = 1 << 20;  // a fence costs address space only
std::mutex mutex;
std::map<uintptr_t, Allocation> allocations;

}  // namespace

#if defined(EMU_ADDRESS) || defined(EMU_THREAD)

// ASan fences it to the byte itself, TSan wants to know about it.
extern "C" void* emu_allocate(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes ? bytes : 1) != 0) return nullptr;
  return memory;
}
extern "C" void emu_free(void* memory) { free(memory); }

#else

// The end lies against the fence but for 16-byte alignment; what is left before the start is poisoned.
extern "C" void* emu_allocate(size_t bytes) {
  const size_t rounded = (bytes + 15) / 16 * 16, usable = (rounded + page - 1) / page * page;
  const size_t mapped = usable + 2 * fence;
  void* reserved = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  char* mapping = static_cast<char*>(reserved);
  if (mprotect(mapping + fence, usable, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping, mapped);
    return nullptr;
  }
  char* memory = mapping + fence + usable - rounded;
  memset(mapping + fence, 0xff, usable - rounded);
  memset(memory + bytes, 0xff, rounded - bytes);
  std::lock_guard<std::mutex> lock(mutex);
  allocations[reinterpret_cast<uintptr_t>(memory)] = {mapping, mapped, bytes};
  return memory;
}

extern "C" void emu_free(void* memory) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = allocations.find(reinterpret_cast<uintptr_t>(memory));
  if (found == allocations.end()) abort();
  munmap(found->second.mapping, found->second.mapped);
  allocations.erase(found);
}

#endif

void emu::describe(const void* address, char* text, size_t size) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [start, allocation] : allocations) {
    const uintptr_t mapping = reinterpret_cast<uintptr_t>(allocation.mapping);
    if (at < mapping || at >= mapping + allocation.mapped) continue;
    snprintf(text, size, "byte %td of an allocation of %zu bytes", ptrdiff_t(at - start), allocation.bytes);
    return;
  }
  snprintf(text, size, "address %p, which no allocation holds", address);
}
