// Modules' kernels: what the host compiler has made of the same text, launched by tests/cuda_on_cpu.
#pragma once
#include "objects.h"

namespace {

// ---- kernels --------------------------------------------------------------------------------------------------------

// Python's part: gives the shared object with emu_run_NAME for a module's image; writes its path, or a reason after "!".
typedef void (*Resolver)(const char* image, size_t bytes, char* path, size_t room);
Resolver resolver = nullptr;

struct Request {  // of tests/cuda_on_cpu/emulation/launch.cpp
  void (*run)(void**);
  void** arguments;
  void* module;
  void* (*touch_shared)();
  unsigned grid[3], block[3];
  size_t shared_bytes;
  int schedule;
  unsigned seed, workers;
  int poison;
};
typedef int (*Launcher)(const Request*, char*, size_t);

size_t image_bytes(const char* image) {
  if (memcmp(image, "\177ELF", 4)) return strlen(image);
  // The section headers come last in a cubin, or the program headers after them.
  uint64_t sections, programs;
  uint16_t size, count, program_size, program_count;
  memcpy(&programs, image + 32, 8);
  memcpy(&sections, image + 40, 8);
  memcpy(&program_size, image + 54, 2);
  memcpy(&program_count, image + 56, 2);
  memcpy(&size, image + 58, 2);
  memcpy(&count, image + 60, 2);
  uint64_t end = std::max(sections + uint64_t(size) * count, programs + uint64_t(program_size) * program_count);
  for (int i = 0; i < count; ++i) {
    const char* header = image + sections + uint64_t(i) * size;
    uint32_t kind;
    uint64_t at, bytes;
    memcpy(&kind, header + 4, 4);
    memcpy(&at, header + 24, 8);
    memcpy(&bytes, header + 32, 8);
    if (kind != 8) end = std::max(end, at + bytes);
  }
  return end;
}

// Bytes of __shared__ variables that a kernel has whatever the launch says: its section of the cubin tells.
int static_shared(const std::string& image, const std::string& kernel) {
  if (image.size() < 64 || memcmp(image.data(), "\177ELF", 4)) return 0;
  auto number = [&](size_t at, int bytes) {
    uint64_t value = 0;
    if (at + bytes <= image.size()) memcpy(&value, image.data() + at, bytes);
    return value;
  };
  const uint64_t sections = number(40, 8), size = number(58, 2), count = number(60, 2), names = number(62, 2);
  const uint64_t text = number(sections + names * size + 24, 8);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t header = sections + i * size, name = text + number(header, 4);
    if (name < image.size() && (".nv.shared." + kernel) == image.c_str() + name) return int(number(header + 32, 8));
  }
  return 0;
}

size_t size_of(const std::string& code) { return code[0] == '*' ? 8 : size_t(atol(code.c_str() + 1)); }

struct Launch {
  Function* function;
  unsigned grid[3], block[3];
  size_t shared;
  std::vector<std::vector<char>> arguments;
};

void run_kernel(const std::shared_ptr<Launch>& launch) {
  static Launcher launcher = reinterpret_cast<Launcher>(dlsym(RTLD_DEFAULT, "emu_launch"));
  Function* f = launch->function;
  Context* context = f->module->context;
  if (!launcher) return fault(context, CUDA_ERROR_LAUNCH_FAILED, "emu_launch is not loaded");
  std::vector<void*> arguments;
  for (size_t i = 0; i < launch->arguments.size(); ++i) {
    auto& bytes = launch->arguments[i];
    arguments.push_back(bytes.data());
    uintptr_t at;
    if (f->codes[i][0] != '*') continue;
    memcpy(&at, bytes.data(), 8);
    if (!at) continue;
    auto* found = holder(at);
    if (!found)
      return fault(context, CUDA_ERROR_ILLEGAL_ADDRESS,
                   f->name + ": argument " + std::to_string(i) + " points to no memory, or to memory freed since");
    if (found->second.device >= 0 && found->second.device != context->device)
      return fault(context, CUDA_ERROR_ILLEGAL_ADDRESS, f->name + ": argument " + std::to_string(i) +
                   " is memory of GPU " + std::to_string(found->second.device) + ", it runs on GPU " +
                   std::to_string(context->device));
  }
  Request request{f->run, arguments.data(), f->module->handle, f->touch, {}, {}, launch->shared, 0, 0, 2, 0xff};
  std::copy_n(launch->grid, 3, request.grid);
  std::copy_n(launch->block, 3, request.block);
  char message[512] = "";
  if (launcher(&request, message, sizeof message))
    fault(context, CUDA_ERROR_ILLEGAL_ADDRESS, f->name + ": " + message);
}

}  // namespace
