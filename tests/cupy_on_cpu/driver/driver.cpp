// libcuda.so.1 without a GPU: the part of the CUDA driver API that CuPy, and the runtime API beside this, ask for.
// Written from NVIDIA's documentation of the API and its header alone.
//
// Device memory is host memory. Streams are queues of operations that run
//   FAKECUDA_ORDER=eager   as soon as they are asked for
//   FAKECUDA_ORDER=lazy    only when somebody who may rely on them waits: the slowest GPU there could be
//   FAKECUDA_ORDER=random  now and then, one by one, in any order that streams and events allow (FAKECUDA_SEED)
//   FAKECUDA_ORDER=never   not at all: what is left is the host's own time
// A kernel is whatever the host program's resolver (fakecuda_set_resolver) answers for a module's image.
// Other settings: FAKECUDA_DEVICES (1), FAKECUDA_CAPABILITY (90), FAKECUDA_DRIVER (13020), FAKECUDA_MEMORY in MiB (1024),
// FAKECUDA_LOG (a file). tests/cupy_on_cpu/standin.py reads counters and plans failures.
#define CUDA_ENABLE_DEPRECATED
#include <cuda.h>
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#undef cuGetProcAddress

#include "api_modules.h"
