// What CUDA's handles stand for, memory between fences, and the rules of streams and captures.
#pragma once
#include "operations.h"

namespace {

// ---- objects --------------------------------------------------------------------------------------------------------

struct Node {
  std::string what;
  std::function<void()> run;
  std::vector<size_t> after;
};
struct Graph {
  std::vector<Node> nodes;
};
struct Capture {
  Graph* graph = new Graph;
  uint64_t id;
  CUstreamCaptureMode mode;
  struct Stream* origin;
  std::set<struct Stream*> streams;
  unsigned long thread;
  bool broken = false;
};
struct Context;
struct Stream {
  Context* context;
  unsigned flags = 0;
  bool legacy = false;
  int priority = 0;
  uint64_t id;
  Op last;
  std::shared_ptr<Capture> capture;
  std::vector<size_t> tail;  // nodes that the next captured one follows
};
struct Event {
  Context* context;
  unsigned flags;
  Op op;
  std::shared_ptr<Capture> capture;
  std::vector<size_t> tail;
};
struct Allocation {
  size_t bytes;
  int device;  // -1: page-locked host memory
  void* mapping;
  size_t mapped;
};
struct Module {
  Context* context;
  std::string image, library;
  void* handle = nullptr;
};
struct Function {
  Module* module;
  std::string name;
  void (*run)(void**) = nullptr;
  void* (*touch)() = nullptr;
  std::vector<std::string> codes;
  int threads = 1024, dynamic = 48 * 1024, statics = 0;
};
struct Context {
  int device;
  Stream legacy;
  std::set<Stream*> streams;
  std::set<int> peers;
  CUresult sticky = CUDA_SUCCESS;
  int references = 0;
  size_t used = 0;
  std::map<void*, void*> storage;
};
struct Exec {
  Graph graph;
  Context* context;
  Op last;
};

std::map<int, Context*> contexts;
thread_local Context* current = nullptr;
thread_local std::vector<Context*> stack;
thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
std::map<uintptr_t, Allocation> allocations;
std::set<std::shared_ptr<Capture>> captures;
std::set<void*> live_events, live_graphs, live_execs;
uint64_t identities = 1;

unsigned long this_thread() { return (unsigned long)pthread_self(); }

Context* primary(int device) {
  Context*& context = contexts[device];
  if (!context) {
    context = new Context;
    context->device = device;
    context->legacy.context = context;
    context->legacy.legacy = true;
    context->legacy.id = identities++;
  }
  return context;
}

// Raised by anything that goes wrong while an operation runs; it stays with the context, as on a GPU.
void fault(Context* context, CUresult result, const std::string& words) {
  last_fault = words;
  fprintf(stderr, "fakecuda: %s\n", words.c_str());
  note("FAULT %s", words.c_str());
  context->sticky = result;
}

const std::pair<const uintptr_t, Allocation>* holder(uintptr_t at) {
  auto next = allocations.upper_bound(at);
  if (next == allocations.begin()) return nullptr;
  --next;
  return at < next->first + std::max<size_t>(next->second.bytes, 1) ? &*next : nullptr;
}

// ---- memory ---------------------------------------------------------------------------------------------------------

constexpr size_t page = 4096, fence = 1 << 20;

// Between two fences, its end near the second; device memory comes poisoned.
uintptr_t reserve(size_t bytes, int device) {
  const size_t alignment = 256;
  const size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  const size_t usable = (rounded + page - 1) / page * page, mapped = usable + 2 * fence;
  void* space = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return 0;
  char* start = static_cast<char*>(space) + fence;
  mprotect(start, usable, PROT_READ | PROT_WRITE);
  char* memory = start + usable - rounded;
  if (device >= 0) memset(start, 0xff, usable);
  allocations[uintptr_t(memory)] = {bytes, device, space, mapped};
  return uintptr_t(memory);
}

bool release(uintptr_t at) {
  auto found = allocations.find(at);
  if (found == allocations.end()) return false;
  munmap(found->second.mapping, found->second.mapped);
  allocations.erase(found);
  return true;
}

bool inside(uintptr_t at, size_t bytes) {
  auto* found = holder(at);
  return found && at + bytes <= found->first + found->second.bytes;
}
bool is_device(uintptr_t at) { auto* found = holder(at); return found && found->second.device >= 0; }
bool is_pinned(uintptr_t at) { auto* found = holder(at); return found && found->second.device < 0; }

// ---- streams --------------------------------------------------------------------------------------------------------

Stream* stream_of(CUstream handle) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY) return current ? &current->legacy : nullptr;
  if (handle == CU_STREAM_PER_THREAD) {
    static std::map<std::pair<unsigned long, Context*>, Stream*> own;
    Stream*& stream = own[{this_thread(), current}];
    if (!stream) {
      stream = new Stream{current};
      stream->id = identities++;
      current->streams.insert(stream);
    }
    return stream;
  }
  return reinterpret_cast<Stream*>(handle);
}

bool known(Stream* stream) {
  for (auto& [device, context] : contexts)
    if (stream == &context->legacy || context->streams.count(stream)) return true;
  return false;
}

void break_capture(const std::shared_ptr<Capture>& capture, const char* why) {
  if (!capture->broken) note("CAPTURE BROKEN: %s", why);
  capture->broken = true;
}

// A call that waits for the device or allocates, which a capture in a strict mode does not allow.
CUresult unsafe(const char* what) {
  for (const auto& capture : captures) {
    const bool mine = capture->thread == this_thread();
    if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    if (capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    if (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && !mine) continue;
    break_capture(capture, what);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return CUDA_SUCCESS;
}

// Work for the legacy stream would make captures of blocking streams depend on it.
CUresult implicit(Stream* stream) {
  if (!stream->legacy) return CUDA_SUCCESS;
  for (const auto& capture : captures)
    for (Stream* one : capture->streams)
      if (one->context == stream->context && !(one->flags & CU_STREAM_NON_BLOCKING)) {
        break_capture(capture, "work on the legacy stream");
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
  return CUDA_SUCCESS;
}

std::vector<Op> before_next(Stream* stream) {
  std::vector<Op> after{stream->last};
  if (stream->legacy) {
    for (Stream* one : stream->context->streams)
      if (!(one->flags & CU_STREAM_NON_BLOCKING)) after.push_back(one->last);
  } else if (!(stream->flags & CU_STREAM_NON_BLOCKING)) {
    after.push_back(stream->context->legacy.last);
  }
  return after;
}

// Adds to a stream: to its queue, or to the graph that it is captured into.
CUresult enqueue(Stream* stream, const std::string& what, std::function<void()> run, Op* made = nullptr) {
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->context->sticky) return stream->context->sticky;
  if (stream->capture) {
    if (stream->capture->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    Graph* graph = stream->capture->graph;
    graph->nodes.push_back({what, std::move(run), stream->tail});
    stream->tail = {graph->nodes.size() - 1};
    note("capture %s into node %zu", what.c_str(), graph->nodes.size() - 1);
    return CUDA_SUCCESS;
  }
  if (CUresult result = implicit(stream)) return result;
  if (order == Order::never) return CUDA_SUCCESS;
  stream->last = operation(what, before_next(stream), std::move(run));
  if (made) *made = stream->last;
  note("enqueue %llu %s on stream %llu", (unsigned long long)stream->last->number, what.c_str(),
       (unsigned long long)stream->id);
  some_progress();
  return stream->context->sticky;
}

CUresult wait_for(Stream* stream) {
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) {
    break_capture(stream->capture, "waiting for a stream that is captured");
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  if (CUresult result = implicit(stream)) return result;
  ++waits;
  for (const Op& op : before_next(stream)) {
    // A blocking stream's wait does not include what the legacy stream holds after it, only what its own work needs.
    if (stream->legacy || op == stream->last) force(op);
  }
  return stream->context->sticky;
}

}  // namespace
