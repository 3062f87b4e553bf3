// The part of the CUDA runtime API that CuPy's runtime.pyx is linked with, over the driver API beside it.
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <cuda_profiler_api.h>

#include <cstdio>
#include <cstring>

namespace {

thread_local int device = 0;
thread_local cudaError_t last = cudaSuccess;

// Runtime and driver number most errors alike.
cudaError_t answer(CUresult result) {
  const cudaError_t error = result == CUDA_ERROR_PEER_ACCESS_UNSUPPORTED ? cudaErrorPeerAccessUnsupported
                            : result == CUDA_ERROR_INVALID_CONTEXT       ? cudaErrorDeviceUninitialized
                                                                         : cudaError_t(result);
  if (error != cudaSuccess && error != cudaErrorNotReady) last = error;
  return error;
}

// The current device's primary context, made by the first call that needs one.
CUresult ready() {
  CUcontext context;
  if (CUresult result = cuInit(0)) return result;
  cuCtxGetCurrent(&context);
  if (context) return CUDA_SUCCESS;
  if (CUresult result = cuDevicePrimaryCtxRetain(&context, device)) return result;
  return cuCtxSetCurrent(context);
}

cudaError_t unsupported(const char* name) {
  fprintf(stderr, "fakecudart: %s is not written\n", name);
  return answer(CUDA_ERROR_NOT_SUPPORTED);
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))
#define DO(call)                                                              \
  do {                                                                        \
    if (CUresult made = ready()) return answer(made);                         \
    return answer(call);                                                      \
  } while (0)
#define AT(pointer) CUdeviceptr(uintptr_t(pointer))

API cudaError_t cudaGetLastError() { cudaError_t error = last; last = cudaSuccess; return error; }
API cudaError_t cudaPeekAtLastError() { return last; }
API const char* cudaGetErrorName(cudaError_t error) {
  static thread_local char text[64];
  switch (error) {
#define NAME(name) case name: return #name
    NAME(cudaSuccess); NAME(cudaErrorInvalidValue); NAME(cudaErrorMemoryAllocation); NAME(cudaErrorNoDevice);
    NAME(cudaErrorInvalidDevice); NAME(cudaErrorInvalidResourceHandle); NAME(cudaErrorNotReady); NAME(cudaErrorIllegalAddress);
    NAME(cudaErrorNotSupported); NAME(cudaErrorStreamCaptureUnsupported); NAME(cudaErrorStreamCaptureInvalidated);
    NAME(cudaErrorStreamCaptureImplicit); NAME(cudaErrorStreamCaptureIsolation); NAME(cudaErrorStreamCaptureUnjoined);
    NAME(cudaErrorStreamCaptureMerge); NAME(cudaErrorStreamCaptureUnmatched); NAME(cudaErrorStreamCaptureWrongThread);
    NAME(cudaErrorCapturedEvent); NAME(cudaErrorInsufficientDriver); NAME(cudaErrorPeerAccessUnsupported); NAME(cudaErrorIllegalState);
#undef NAME
    default: snprintf(text, sizeof text, "cudaError %d", int(error)); return text;
  }
}
API const char* cudaGetErrorString(cudaError_t error) {
  const char* words;
  cuGetErrorString(CUresult(error), &words);
  return words;
}

API cudaError_t cudaDriverGetVersion(int* version) { return answer(cuDriverGetVersion(version)); }
API cudaError_t cudaRuntimeGetVersion(int* version) { *version = CUDART_VERSION; return cudaSuccess; }
API cudaError_t cudaGetDevice(int* current) {
  if (CUresult result = cuInit(0)) return answer(result);
  *current = device;
  return cudaSuccess;
}
API cudaError_t cudaSetDevice(int wanted) {
  CUdevice found;
  CUcontext context;
  if (CUresult result = cuInit(0)) return answer(result);
  if (CUresult result = cuDeviceGet(&found, wanted)) return answer(result);
  device = wanted;
  if (CUresult result = cuDevicePrimaryCtxRetain(&context, wanted)) return answer(result);
  return answer(cuCtxSetCurrent(context));
}
API cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  int version;
  cuDriverGetVersion(&version);
  if (version / 1000 < CUDART_VERSION / 1000) return last = cudaErrorInsufficientDriver;
  if (CUresult result = cuInit(0)) return answer(result);
  return answer(cuDeviceGetCount(count));
}
API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int of) {
  CUdevice found;
  if (CUresult result = cuInit(0)) return answer(result);
  if (CUresult result = cuDeviceGet(&found, of)) return answer(result);
  return answer(cuDeviceGetAttribute(value, CUdevice_attribute(attribute), of));
}
API cudaError_t cudaDeviceGetPCIBusId(char* id, int room, int of) { return answer(cuDeviceGetPCIBusId(id, room, of)); }
API cudaError_t cudaDeviceGetByPCIBusId(int*, const char*) { return unsupported("cudaDeviceGetByPCIBusId"); }
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int of) {
  CUdevice found;
  if (CUresult result = cuInit(0)) return answer(result);
  if (CUresult result = cuDeviceGet(&found, of)) return answer(result);
  memset(properties, 0, sizeof *properties);
  cuDeviceGetName(properties->name, sizeof properties->name, of);
  cuDeviceTotalMem(&properties->totalGlobalMem, of);
  auto get = [of](CUdevice_attribute attribute) {
    int value;
    cuDeviceGetAttribute(&value, attribute, of);
    return value;
  };
  properties->major = get(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  properties->minor = get(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  properties->multiProcessorCount = get(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  properties->sharedMemPerBlock = get(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
  properties->sharedMemPerBlockOptin = get(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  properties->sharedMemPerMultiprocessor = get(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  properties->warpSize = get(CU_DEVICE_ATTRIBUTE_WARP_SIZE);
  properties->maxThreadsPerBlock = get(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  properties->l2CacheSize = get(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  properties->memoryBusWidth = get(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  properties->pciBusID = get(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
  return cudaSuccess;
}
API cudaError_t cudaDeviceSynchronize() { DO(cuCtxSynchronize()); }
API cudaError_t cudaDeviceCanAccessPeer(int* can, int a, int b) { return answer(cuDeviceCanAccessPeer(can, a, b)); }
API cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return answer(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED); }
API cudaError_t cudaDeviceDisablePeerAccess(int) { return answer(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED); }

API cudaError_t cudaMalloc(void** at, size_t bytes) {
  if (!bytes) return *at = nullptr, cudaSuccess;
  DO(cuMemAlloc(reinterpret_cast<CUdeviceptr*>(at), bytes));
}
API cudaError_t cudaFree(void* at) { DO(cuMemFree(AT(at))); }
API cudaError_t cudaHostAlloc(void** at, size_t bytes, unsigned flags) { DO(cuMemHostAlloc(at, bytes, flags)); }
API cudaError_t cudaFreeHost(void* at) { DO(cuMemFreeHost(at)); }
API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) { DO(cuMemGetInfo(free, total)); }
API cudaError_t cudaMemset(void* at, int value, size_t bytes) { DO(cuMemsetD8(AT(at), (unsigned char)value, bytes)); }
API cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t stream) { DO(cuMemsetD8Async(AT(at), (unsigned char)value, bytes, stream)); }

// The kind must be true: the wrong one is undefined on a GPU, and refused here.
static CUresult copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, bool wait, cudaStream_t stream) {
  if (!bytes) return CUDA_SUCCESS;
  auto on_device = [](const void* at) {
    unsigned type = 0;
    return cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, AT(at)) == CUDA_SUCCESS && type == CU_MEMORYTYPE_DEVICE;
  };
  if (kind != cudaMemcpyDefault) {
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (on_device(to) != to_device || on_device(from) != from_device) {
      fprintf(stderr, "fakecudart: a copy of kind %d from %s to %s\n", kind, on_device(from) ? "device" : "host", on_device(to) ? "device" : "host");
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return wait ? cuMemcpy(AT(to), AT(from), bytes) : cuMemcpyAsync(AT(to), AT(from), bytes, stream);
}
API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) { DO(copy(to, from, bytes, kind, true, nullptr)); }
API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) { DO(copy(to, from, bytes, kind, false, stream)); }
API cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, size_t bytes) { DO(cuMemcpy(AT(to), AT(from), bytes)); }
API cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) { DO(cuMemcpyAsync(AT(to), AT(from), bytes, stream)); }
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* at) {
  if (CUresult made = ready()) return answer(made);
  memset(attributes, 0, sizeof *attributes);
  unsigned type = 0;
  if (cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, AT(at))) {
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = -2;
    attributes->hostPointer = const_cast<void*>(at);
    return cudaSuccess;
  }
  attributes->type = type == CU_MEMORYTYPE_DEVICE ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
  cuPointerGetAttribute(&attributes->device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, AT(at));
  cuPointerGetAttribute(&attributes->devicePointer, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, AT(at));
  cuPointerGetAttribute(&attributes->hostPointer, CU_POINTER_ATTRIBUTE_HOST_POINTER, AT(at));
  return cudaSuccess;
}

API cudaError_t cudaStreamCreate(cudaStream_t* stream) { DO(cuStreamCreate(stream, 0)); }
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) { DO(cuStreamCreate(stream, flags)); }
API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) { DO(cuStreamCreateWithPriority(stream, flags, priority)); }
API cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) { DO(cuStreamGetFlags(stream, flags)); }
API cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) { DO(cuStreamGetPriority(stream, priority)); }
API cudaError_t cudaStreamDestroy(cudaStream_t stream) { DO(cuStreamDestroy(stream)); }
API cudaError_t cudaStreamSynchronize(cudaStream_t stream) { DO(cuStreamSynchronize(stream)); }
API cudaError_t cudaStreamQuery(cudaStream_t stream) { DO(cuStreamQuery(stream)); }
API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) { DO(cuStreamWaitEvent(stream, event, flags)); }
API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) { DO(cuStreamBeginCapture(stream, CUstreamCaptureMode(mode))); }
API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) { DO(cuStreamEndCapture(stream, graph)); }
API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) { DO(cuStreamIsCapturing(stream, reinterpret_cast<CUstreamCaptureStatus*>(status))); }
API cudaError_t cudaEventCreate(cudaEvent_t* event) { DO(cuEventCreate(event, 0)); }
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) { DO(cuEventCreate(event, flags)); }
API cudaError_t cudaEventDestroy(cudaEvent_t event) { DO(cuEventDestroy(event)); }
API cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) { DO(cuEventElapsedTime_v2(ms, a, b)); }
API cudaError_t cudaEventQuery(cudaEvent_t event) { DO(cuEventQuery(event)); }
API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { DO(cuEventRecord(event, stream)); }
API cudaError_t cudaEventSynchronize(cudaEvent_t event) { DO(cuEventSynchronize(event)); }

API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) { DO(cuGraphInstantiateWithFlags(exec, graph, flags)); }
API cudaError_t cudaGraphDestroy(cudaGraph_t graph) { DO(cuGraphDestroy(graph)); }
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { DO(cuGraphExecDestroy(exec)); }
API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) { DO(cuGraphLaunch(exec, stream)); }
API cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) { DO(cuGraphUpload(exec, stream)); }

// What CuPy could ask for and caffepy does not.
#define REST(name, ...) API cudaError_t name(__VA_ARGS__) { return unsupported(#name); }
REST(cudaDeviceGetLimit, size_t*, cudaLimit)
REST(cudaDeviceSetLimit, cudaLimit, size_t)
REST(cudaIpcCloseMemHandle, void*)
REST(cudaIpcGetEventHandle, cudaIpcEventHandle_t*, cudaEvent_t)
REST(cudaIpcGetMemHandle, cudaIpcMemHandle_t*, void*)
REST(cudaIpcOpenEventHandle, cudaEvent_t*, cudaIpcEventHandle_t)
REST(cudaIpcOpenMemHandle, void**, cudaIpcMemHandle_t, unsigned)
REST(cudaMallocManaged, void**, size_t, unsigned)
REST(cudaMalloc3DArray, cudaArray_t*, const cudaChannelFormatDesc*, cudaExtent, unsigned)
REST(cudaMallocArray, cudaArray_t*, const cudaChannelFormatDesc*, size_t, size_t, unsigned)
REST(cudaMallocAsync, void**, size_t, cudaStream_t)
REST(cudaMallocFromPoolAsync, void**, size_t, cudaMemPool_t, cudaStream_t)
REST(cudaHostRegister, void*, size_t, unsigned)
REST(cudaHostUnregister, void*)
REST(cudaFreeArray, cudaArray_t)
REST(cudaFreeAsync, void*, cudaStream_t)
REST(cudaMemcpy2DFromArray, void*, size_t, cudaArray_const_t, size_t, size_t, size_t, size_t, cudaMemcpyKind)
REST(cudaMemcpy2DFromArrayAsync, void*, size_t, cudaArray_const_t, size_t, size_t, size_t, size_t, cudaMemcpyKind, cudaStream_t)
REST(cudaMemcpy2DToArray, cudaArray_t, size_t, size_t, const void*, size_t, size_t, size_t, cudaMemcpyKind)
REST(cudaMemcpy2DToArrayAsync, cudaArray_t, size_t, size_t, const void*, size_t, size_t, size_t, cudaMemcpyKind, cudaStream_t)
REST(cudaMemcpy2D, void*, size_t, const void*, size_t, size_t, size_t, cudaMemcpyKind)
REST(cudaMemcpy2DAsync, void*, size_t, const void*, size_t, size_t, size_t, cudaMemcpyKind, cudaStream_t)
REST(cudaMemcpy3D, const cudaMemcpy3DParms*)
REST(cudaMemcpy3DAsync, const cudaMemcpy3DParms*, cudaStream_t)
#if CUDART_VERSION >= 13000
REST(cudaMemPrefetchAsync, const void*, size_t, cudaMemLocation, unsigned, cudaStream_t)
REST(cudaMemAdvise, const void*, size_t, cudaMemoryAdvise, cudaMemLocation)
#else
REST(cudaMemPrefetchAsync, const void*, size_t, int, cudaStream_t)
REST(cudaMemAdvise, const void*, size_t, cudaMemoryAdvise, int)
#endif
REST(cudaDeviceGetDefaultMemPool, cudaMemPool_t*, int)
REST(cudaDeviceGetMemPool, cudaMemPool_t*, int)
REST(cudaDeviceSetMemPool, int, cudaMemPool_t)
REST(cudaMemPoolCreate, cudaMemPool_t*, const cudaMemPoolProps*)
REST(cudaMemPoolDestroy, cudaMemPool_t)
REST(cudaMemPoolTrimTo, cudaMemPool_t, size_t)
REST(cudaMemPoolGetAttribute, cudaMemPool_t, cudaMemPoolAttr, void*)
REST(cudaMemPoolSetAttribute, cudaMemPool_t, cudaMemPoolAttr, void*)
REST(cudaStreamAddCallback, cudaStream_t, cudaStreamCallback_t, void*, unsigned)
REST(cudaLaunchHostFunc, cudaStream_t, cudaHostFn_t, void*)
REST(cudaCreateTextureObject, cudaTextureObject_t*, const cudaResourceDesc*, const cudaTextureDesc*, const cudaResourceViewDesc*)
REST(cudaDestroyTextureObject, cudaTextureObject_t)
REST(cudaGetChannelDesc, cudaChannelFormatDesc*, cudaArray_const_t)
REST(cudaGetTextureObjectResourceDesc, cudaResourceDesc*, cudaTextureObject_t)
REST(cudaGetTextureObjectTextureDesc, cudaTextureDesc*, cudaTextureObject_t)
REST(cudaCreateSurfaceObject, cudaSurfaceObject_t*, const cudaResourceDesc*)
REST(cudaDestroySurfaceObject, cudaSurfaceObject_t)
REST(cudaGraphDebugDotPrint, cudaGraph_t, const char*, unsigned)
REST(cudaProfilerStart)
REST(cudaProfilerStop)
