// Device memory: fenced, so that an access past the end is a fault and not a quiet answer.
#pragma once
#include <cstddef>

extern "C" void* emu_allocate(size_t bytes);
extern "C" void emu_free(void* memory);

namespace emu {

// Into `text`: "byte 260 of an allocation of 256 bytes", or that the address is near none.
void describe(const void* address, char* text, size_t size);

}  // namespace emu
