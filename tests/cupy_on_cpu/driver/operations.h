// Settings, the log, and operations: what streams hold, and the order that they run in.
#pragma once
namespace {

// ---- settings and the log -------------------------------------------------------------------------------------------

long setting(const char* name, long otherwise) {
  const char* value = getenv(name);
  return value && *value ? atol(value) : otherwise;
}
const int device_count = int(setting("FAKECUDA_DEVICES", 1));
const int capability = int(setting("FAKECUDA_CAPABILITY", 90));
const size_t device_bytes = size_t(setting("FAKECUDA_MEMORY", 1024)) << 20;
const int driver_version = int(setting("FAKECUDA_DRIVER", 13020));

enum class Order { eager, lazy, random, never };
Order order_from(const char* name) {
  if (!name) return Order::eager;
  return !strcmp(name, "lazy") ? Order::lazy : !strcmp(name, "random") ? Order::random : !strcmp(name, "never") ? Order::never : Order::eager;
}
Order order = order_from(getenv("FAKECUDA_ORDER"));
std::mt19937 dice(unsigned(setting("FAKECUDA_SEED", 0)));

FILE* log_file() {
  static FILE* file = [] {
    const char* path = getenv("FAKECUDA_LOG");
    return path && *path ? fopen(path, "a") : nullptr;
  }();
  return file;
}
void note(const char* format, ...) {
  if (!log_file()) return;
  va_list list;
  va_start(list, format);
  vfprintf(log_file(), format, list);
  va_end(list);
  fputc('\n', log_file());
  fflush(log_file());
}

std::recursive_mutex global;
using Lock = std::lock_guard<std::recursive_mutex>;

std::string last_fault;  // what went wrong on the "device", in words

// Calls that can fail, since a test asked, and the one of them that has to; how often the host has waited.
long calls = 0, failing = 0, waits = 0;
CUresult failure = CUDA_SUCCESS;
CUresult planned(const char* name) {
  Lock lock(global);
  if (++calls != failing) return CUDA_SUCCESS;
  note("FAILS AS PLANNED: %s", name);
  return failure;
}

// ---- operations -----------------------------------------------------------------------------------------------------

struct Operation;
using Op = std::shared_ptr<Operation>;
struct Operation {
  uint64_t number;
  std::string what;
  std::function<void()> run;
  std::vector<Op> after;
  bool done = false;
  double ended = 0;
};
uint64_t operations = 0;
std::map<uint64_t, Op> pending;

double now() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

void perform(const Op op) {  // by value: `pending` may hold the last reference
  if (op->done) return;
  op->done = true;
  pending.erase(op->number);
  note("  run %llu %s", (unsigned long long)op->number, op->what.c_str());
  if (op->run) op->run();
  op->ended = now();
  op->run = nullptr;
  op->after.clear();
}

// Does `op` and what it waits for, and nothing else: whatever does not wait for another goes before it if it came later.
void force(const Op op) {
  if (!op || op->done) return;
  std::map<uint64_t, Op> needed;
  std::vector<Op> look{op};
  while (!look.empty()) {
    Op one = look.back();
    look.pop_back();
    if (!one || one->done || !needed.emplace(one->number, one).second) continue;
    for (const Op& before : one->after) look.push_back(before);
  }
  std::map<uint64_t, std::vector<Op>> followers;
  std::map<uint64_t, int> waits;
  std::map<uint64_t, Op> ready;
  for (auto& [number, one] : needed) {
    int count = 0;
    for (const Op& before : one->after)
      if (!before->done) followers[before->number].push_back(one), ++count;
    waits[number] = count;
    if (!count) ready[number] = one;
  }
  while (!ready.empty()) {
    auto next = std::prev(ready.end());
    if (order == Order::random) std::advance(next = ready.begin(), dice() % ready.size());
    if (order == Order::eager) next = ready.begin();
    Op one = next->second;
    ready.erase(next);
    perform(one);
    for (const Op& follower : followers[one->number])
      if (--waits[follower->number] == 0) ready[follower->number] = follower;
  }
}

void force_all() {
  while (!pending.empty()) perform(pending.begin()->second);
}

void some_progress() {
  if (order == Order::eager) force_all();
  if (order != Order::random) return;
  while (!pending.empty() && dice() % 4 == 0) {
    auto one = pending.begin();
    std::advance(one, dice() % pending.size());
    force(Op(one->second));
  }
}

Op operation(std::string what, std::vector<Op> after, std::function<void()> run) {
  Op op = std::make_shared<Operation>();
  op->number = ++operations;
  op->what = std::move(what);
  for (Op& one : after)
    if (one && !one->done) op->after.push_back(std::move(one));
  op->run = std::move(run);
  pending[op->number] = op;
  return op;
}

}  // namespace
