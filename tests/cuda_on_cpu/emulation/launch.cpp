// One launch: blocks handed to OS threads, poisoned shared memory before each, and faults turned into messages.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <xmmintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "faults.h"
#include "scheduler.h"

namespace emu {
namespace {

struct Request {  // build.py's _Request
  void (*run)(void** arguments);
  void** arguments;
  void* module;                // from dlopen
  void* (*touch_shared)();     // gives this OS thread its copy of the module's __shared__ variables
  unsigned grid[3], block[3];
  size_t shared_bytes;
  int schedule;
  unsigned seed;
  unsigned workers;
  int poison;
};

struct Job {
  const Request& request;
  const Kernel kernel;
  const size_t blocks;
  std::vector<size_t> order;  // of blocks; empty: ascending
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  char* error;
  size_t error_size;

  void fail(const char* message) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!failed.exchange(true)) snprintf(error, error_size, "%s", message);
  }
};

// The GPU's arithmetic under -ftz=true: denormal floats are zeros, as inputs and as results.
class FlushDenormals {
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  const unsigned saved_;
};

// A module's __shared__ variables, as this OS thread sees them: its thread-local storage and nothing else.
struct SharedVariables {
  void* start = nullptr;
  size_t bytes = 0;

  explicit SharedVariables(const Request& request) {
    if (!request.touch_shared) return;
    request.touch_shared();
    link_map* map = nullptr;
    if (dlinfo(request.module, RTLD_DI_TLS_DATA, &start) != 0 || dlinfo(request.module, RTLD_DI_LINKMAP, &map) != 0)
      return;
    const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(map->l_addr);
    const auto* segment = reinterpret_cast<const ElfW(Phdr)*>(map->l_addr + header->e_phoff);
    for (int i = 0; i < header->e_phnum; ++i)
      if (segment[i].p_type == PT_TLS) bytes = segment[i].p_memsz;
  }
};

// Runs up to `limit` of the job's blocks on this OS thread.
void run_blocks(Job& job, Scheduler& mine, size_t limit) {
  const FlushDenormals flush;
  scheduler = &mine;
  const SharedVariables shared(job.request);
  for (; limit && !job.failed; --limit) {
    size_t i = job.next++;
    if (i >= job.blocks) break;
    if (!job.order.empty()) i = job.order[i];
    if (shared.bytes) memset(shared.start, job.request.poison, shared.bytes);
    if (mine.shared()) memset(mine.shared(), job.request.poison, job.kernel.shared_bytes);
    const uint3 grid = job.kernel.grid;
    if (!mine.run_block({unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)}))
      job.fail(mine.error());
  }
  scheduler = nullptr;
}

std::vector<size_t> block_order(const Request& request, size_t blocks) {
  std::vector<size_t> order;
  if (Schedule(request.schedule) == Schedule::ascending) return order;
  for (size_t i = 0; i < blocks; ++i) order.push_back(blocks - 1 - i);
  std::mt19937 random(request.seed);
  if (Schedule(request.schedule) == Schedule::random) std::shuffle(order.begin(), order.end(), random);
  return order;
}

#if defined(EMU_THREAD)

// Every block on an OS thread of its own, one after another: each with its own __shared__ variables and stacks, and
// none ordered before another, so that TSan reports what blocks do to each other. Only those of a wave: every barrier
// takes TSan time for every fiber there is. A thread that ended would hand its memory to the next, so all of a wave stay
// until its end.
void run(Job& job) {
  const unsigned threads = job.kernel.block.x * job.kernel.block.y * job.kernel.block.z;
  const unsigned wave = std::max(1u, 512 / threads);
  while (job.next < job.blocks && !job.failed) {
    std::vector<std::thread> blocks;
    std::atomic<size_t> finished{0};
    std::atomic<bool> wave_is_over{false};
    for (size_t i = 0; i < wave && job.next < job.blocks; ++i) {
      blocks.emplace_back([&] {
        Scheduler mine(threads);
        mine.load(job.kernel, Schedule(job.request.schedule), job.request.seed);
        run_blocks(job, mine, 1);
        ++finished;
        while (!wave_is_over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
      while (finished <= i) std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    wave_is_over = true;
    for (std::thread& block : blocks) block.join();
    reuse_sanitizer_fibers(!job.failed);
  }
}

#else

// This OS thread runs the first block; others come to help if the rest is worth their start.
void run(Job& job) {
  static std::vector<std::unique_ptr<Scheduler>> schedulers;  // their stacks are worth keeping
  const auto scheduler_of = [&](unsigned worker) -> Scheduler& {
    if (schedulers.size() <= worker) schedulers.resize(worker + 1);
    if (!schedulers[worker]) schedulers[worker] = std::make_unique<Scheduler>(1024);
    schedulers[worker]->load(job.kernel, Schedule(job.request.schedule), job.request.seed + worker);
    return *schedulers[worker];
  };
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  run_blocks(job, scheduler_of(0), 1);
  std::vector<std::thread> helpers;
  if ((Clock::now() - start) * (job.blocks - 1) > std::chrono::microseconds(200))
    for (unsigned worker = 1; worker < job.request.workers && worker < job.blocks; ++worker) {
      Scheduler& theirs = scheduler_of(worker);
      helpers.emplace_back([&] {
        const FaultStack stack;
        run_blocks(job, theirs, job.blocks);
      });
    }
  run_blocks(job, *schedulers[0], job.blocks);
  for (std::thread& helper : helpers) helper.join();
  if (job.failed) schedulers.clear();  // they hold threads that never returned
}

#endif

}  // namespace
}  // namespace emu

// Returns 0, or 1 with a message in `error`.
extern "C" int emu_launch(const emu::Request* request, char* error, size_t error_size) {
  using namespace emu;
  static std::mutex one_at_a_time;  // signal handlers belong to the process
  std::lock_guard<std::mutex> lock(one_at_a_time);
  const unsigned *g = request->grid, *b = request->block;
  const size_t blocks = size_t(g[0]) * g[1] * g[2];
  Job job{*request,
          {request->run, request->arguments, {g[0], g[1], g[2]}, {b[0], b[1], b[2]}, request->shared_bytes},
          blocks,
          block_order(*request, blocks)};
  job.error = error;
  job.error_size = error_size;
  const FaultStack stack;
  const FaultHandlers handlers;
  run(job);
  return job.failed;
}
