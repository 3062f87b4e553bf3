// The driver API: devices and contexts, and what tests ask.
#pragma once
#include "kernels.h"

#define API extern "C" __attribute__((visibility("default"))) CUresult
#define HAVE_CONTEXT if (!current) return CUDA_ERROR_INVALID_CONTEXT
#define NEED_CONTEXT HAVE_CONTEXT; if (CUresult meant = planned(__func__)) return meant

// ---- what the test harness uses -------------------------------------------------------------------------------------

extern "C" __attribute__((visibility("default"))) void fakecuda_set_resolver(Resolver given) { resolver = given; }
extern "C" __attribute__((visibility("default"))) void fakecuda_set_order(const char* name) {
  Lock lock(global);
  order = order_from(name);
}
extern "C" __attribute__((visibility("default"))) size_t fakecuda_pending() { return pending.size(); }
extern "C" __attribute__((visibility("default"))) const char* fakecuda_fault() { return last_fault.c_str(); }
extern "C" __attribute__((visibility("default"))) long fakecuda_calls() { return calls; }
extern "C" __attribute__((visibility("default"))) long fakecuda_waits() { return waits; }
extern "C" __attribute__((visibility("default"))) void fakecuda_fail(long nth, int result) {
  Lock lock(global);
  calls = 0, failing = nth, failure = CUresult(result);
}
extern "C" __attribute__((visibility("default"))) size_t fakecuda_held(int device) {
  Lock lock(global);
  size_t total = 0;
  for (auto& [at, one] : allocations)
    if (one.device == device) total += one.bytes;
  return total;
}
extern "C" __attribute__((visibility("default"))) void fakecuda_forgive() {
  last_fault.clear();
  for (auto& [device, context] : contexts) context->sticky = CUDA_SUCCESS;
}

// ---- devices and contexts -------------------------------------------------------------------------------------------

API cuInit(unsigned) { return device_count > 0 ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
API cuDriverGetVersion(int* version) { *version = driver_version; return CUDA_SUCCESS; }
API cuDeviceGetCount(int* count) { *count = device_count; return CUDA_SUCCESS; }
API cuDeviceGet(CUdevice* device, int ordinal) {
  if (ordinal < 0 || ordinal >= device_count) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}
API cuDeviceGetName(char* name, int room, CUdevice device) {
  snprintf(name, room, "Fake GPU %d", device);
  return CUDA_SUCCESS;
}
API cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
  memset(uuid->bytes, 0x40 + device, 16);
  return CUDA_SUCCESS;
}
API cuDeviceGetLuid(char* luid, unsigned* mask, CUdevice) { memset(luid, 0, 8); *mask = 0; return CUDA_SUCCESS; }
API cuDeviceTotalMem_v2(size_t* bytes, CUdevice) { *bytes = device_bytes; return CUDA_SUCCESS; }
API cuDeviceGetPCIBusId(char* id, int room, CUdevice device) {
  snprintf(id, room, "0000:%02x:00.0", device + 1);
  return CUDA_SUCCESS;
}
API cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  static const std::map<int, int> values{
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024}, {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024}, {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
      {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 2147483647}, {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
      {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535}, {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
      {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536}, {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
      {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536}, {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1980000},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132}, {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1}, {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 2619000},
      {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120}, {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 50 << 20},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048}, {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, capability / 10},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, capability % 10},
      {CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 228 * 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536}, {CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 227 * 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 32}, {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
      {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 3}, {CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512},
      {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1}, {CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED, 1}};
  auto found = values.find(attribute);
  *value = attribute == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID ? device + 1 : found == values.end() ? 0 : found->second;
  return CUDA_SUCCESS;
}
API cuDeviceCanAccessPeer(int* can, CUdevice, CUdevice) { *can = 0; return CUDA_SUCCESS; }

API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  Lock lock(global);
  *context = reinterpret_cast<CUcontext>(primary(device));
  ++primary(device)->references;
  return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
API cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
  Lock lock(global);
  *flags = 0;
  *active = contexts.count(device) && contexts[device]->references;
  return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxSetFlags_v2(CUdevice, unsigned) { return CUDA_SUCCESS; }
API cuCtxGetCurrent(CUcontext* context) { *context = reinterpret_cast<CUcontext>(current); return CUDA_SUCCESS; }
API cuCtxSetCurrent(CUcontext context) { current = reinterpret_cast<Context*>(context); return CUDA_SUCCESS; }
API cuCtxPushCurrent_v2(CUcontext context) {
  stack.push_back(current);
  current = reinterpret_cast<Context*>(context);
  return CUDA_SUCCESS;
}
API cuCtxPopCurrent_v2(CUcontext* context) {
  if (context) *context = reinterpret_cast<CUcontext>(current);
  current = stack.empty() ? nullptr : stack.back();
  if (!stack.empty()) stack.pop_back();
  return CUDA_SUCCESS;
}
API cuCtxGetDevice(CUdevice* device) { NEED_CONTEXT; *device = current->device; return CUDA_SUCCESS; }
API cuCtxGetDevice_v2(CUdevice* device, CUcontext context) {
  Context* of = context ? reinterpret_cast<Context*>(context) : current;
  if (!of) return CUDA_ERROR_INVALID_CONTEXT;
  *device = of->device;
  return CUDA_SUCCESS;
}
API cuCtxGetFlags(unsigned* flags) { *flags = 0; return CUDA_SUCCESS; }
API cuCtxGetId(CUcontext context, unsigned long long* id) {
  Context* of = context ? reinterpret_cast<Context*>(context) : current;
  if (!of) return CUDA_ERROR_INVALID_CONTEXT;
  *id = of->device + 1;
  return CUDA_SUCCESS;
}
API cuCtxGetApiVersion(CUcontext, unsigned* version) { *version = 13000; return CUDA_SUCCESS; }
API cuCtxGetStreamPriorityRange(int* least, int* greatest) { *least = 0; *greatest = -5; return CUDA_SUCCESS; }
API cuCtxEnablePeerAccess(CUcontext, unsigned) { return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED; }

static CUresult synchronize(Context* context) {
  Lock lock(global);
  ++waits;
  if (CUresult result = unsafe("waiting for the device")) return result;
  for (Stream* stream : context->streams)
    if (stream->capture) {
      break_capture(stream->capture, "waiting for the device");
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
  force(context->legacy.last);
  for (Stream* stream : context->streams) force(stream->last);
  return context->sticky;
}
API cuCtxSynchronize() { NEED_CONTEXT; return synchronize(current); }
API cuCtxSynchronize_v2(CUcontext context) { return synchronize(context ? reinterpret_cast<Context*>(context) : current); }
