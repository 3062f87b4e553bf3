// The driver API: memory and copies.
#pragma once
#include "api_devices.h"

// ---- memory ---------------------------------------------------------------------------------------------------------

API cuMemGetInfo_v2(size_t* free, size_t* total) {
  NEED_CONTEXT;
  *total = device_bytes;
  *free = device_bytes - current->used;
  return CUDA_SUCCESS;
}
API cuMemAlloc_v2(CUdeviceptr* at, size_t bytes) {
  NEED_CONTEXT;
  Lock lock(global);
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult result = unsafe("cuMemAlloc")) return result;
  if (current->sticky) return current->sticky;
  if (current->used + bytes > device_bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  *at = reserve(bytes, current->device);
  if (!*at) return CUDA_ERROR_OUT_OF_MEMORY;
  current->used += bytes;
  note("cuMemAlloc %zu -> %llx", bytes, *at);
  return CUDA_SUCCESS;
}
API cuMemFree_v2(CUdeviceptr at) {
  HAVE_CONTEXT;
  Lock lock(global);
  if (!at) return CUDA_SUCCESS;
  if (CUresult result = unsafe("cuMemFree")) return result;
  auto found = allocations.find(at);
  if (found == allocations.end()) return CUDA_ERROR_INVALID_VALUE;
  force_all();  // as the real one does, though no program should count on it
  if (found->second.device >= 0) primary(found->second.device)->used -= found->second.bytes;
  release(at);
  note("cuMemFree %llx", at);
  return CUDA_SUCCESS;
}
API cuMemHostAlloc(void** at, size_t bytes, unsigned) {
  NEED_CONTEXT;
  Lock lock(global);
  if (CUresult result = unsafe("cuMemHostAlloc")) return result;
  *at = reinterpret_cast<void*>(reserve(bytes, -1));
  note("cuMemHostAlloc %zu -> %p", bytes, *at);
  return *at ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
API cuMemAllocHost_v2(void** at, size_t bytes) { return cuMemHostAlloc(at, bytes, 0); }
API cuMemFreeHost(void* at) {
  Lock lock(global);
  if (CUresult result = unsafe("cuMemFreeHost")) return result;
  force_all();
  return release(uintptr_t(at)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API cuMemHostGetDevicePointer_v2(CUdeviceptr* to, void* at, unsigned) { *to = CUdeviceptr(at); return CUDA_SUCCESS; }

API cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr at) {
  Lock lock(global);
  auto* found = holder(at);
  if (!found) return CUDA_ERROR_INVALID_VALUE;
  const bool on_device = found->second.device >= 0;
  const int device = on_device ? found->second.device : 0;
  switch (int(attribute)) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *static_cast<CUcontext*>(data) = reinterpret_cast<CUcontext>(primary(device)); break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *static_cast<unsigned*>(data) = on_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *static_cast<CUdeviceptr*>(data) = at; break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER: *static_cast<void**>(data) = on_device ? nullptr : reinterpret_cast<void*>(at); break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *static_cast<int*>(data) = 0; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *static_cast<int*>(data) = device; break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *static_cast<CUdeviceptr*>(data) = found->first; break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *static_cast<size_t*>(data) = found->second.bytes; break;
    default: note("cuPointerGetAttribute %d", int(attribute)); return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}
API cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** data, CUdeviceptr at) {
  Lock lock(global);
  for (unsigned i = 0; i < count; ++i) {
    if (holder(at)) {
      if (CUresult result = cuPointerGetAttribute(data[i], attributes[i], at)) note("attribute %d: %d", attributes[i], result);
    } else if (attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) {
      *static_cast<int*>(data[i]) = -2;
    } else if (attributes[i] == CU_POINTER_ATTRIBUTE_MEMORY_TYPE || attributes[i] == CU_POINTER_ATTRIBUTE_IS_MANAGED) {
      *static_cast<int*>(data[i]) = 0;
    } else {
      *static_cast<void**>(data[i]) = nullptr;
    }
  }
  return CUDA_SUCCESS;
}

namespace {

// One copy on a stream, by CUDA's rules for what the host may do with its memory when the call returns.
CUresult copy(uintptr_t to, uintptr_t from, size_t bytes, Stream* stream, bool wait, const char* name) {
  Lock lock(global);
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (!bytes) return CUDA_SUCCESS;
  const bool to_host = !is_device(to), from_host = !is_device(from);
  if ((!to_host && !inside(to, bytes)) || (!from_host && !inside(from, bytes))) {
    note("%s of %zu bytes leaves its allocation", name, bytes);
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (wait)
    if (CUresult result = unsafe(name)) return result;
  std::string what = std::string(name) + " " + std::to_string(bytes) + (from_host ? is_pinned(from) ? " pinned" : " pageable" : " device") +
                     (to_host ? is_pinned(to) ? " to pinned" : " to pageable" : " to device");
  Context* context = stream->context;
  auto run = [=] {
    if ((!from_host && !inside(from, bytes)) || (!to_host && !inside(to, bytes)))
      return fault(context, CUDA_ERROR_ILLEGAL_ADDRESS, what + ": its memory has been freed since");
    memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
  };
  const bool staged = from_host && !is_pinned(from), blocking = to_host && !is_pinned(to);
  if (stream->capture) {
    if (wait) {
      break_capture(stream->capture, name);
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return enqueue(stream, what, run);  // pageable memory is read when the graph runs
  }
  Op made;
  CUresult result;
  if (staged) {
    auto held = std::make_shared<std::vector<char>>(reinterpret_cast<char*>(from), reinterpret_cast<char*>(from) + bytes);
    result = enqueue(stream, what, [=] {
      if (!to_host && !inside(to, bytes)) return fault(context, CUDA_ERROR_ILLEGAL_ADDRESS, what + ": its memory has been freed since");
      memcpy(reinterpret_cast<void*>(to), held->data(), bytes);
    }, &made);
  } else {
    result = enqueue(stream, what, run, &made);
  }
  if (result) return result;
  // A copy between two places on the device does not wait even without Async; one from pageable memory is staged.
  if (blocking || (wait && (to_host || (from_host && !staged)))) {
    ++waits;
    force(made);
  }
  return stream->context->sticky;
}

CUresult set(uintptr_t at, unsigned char value, size_t bytes, Stream* stream) {
  Lock lock(global);
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (!bytes) return CUDA_SUCCESS;
  if (!inside(at, bytes)) return CUDA_ERROR_INVALID_VALUE;
  Context* context = stream->context;
  return enqueue(stream, "memset " + std::to_string(bytes), [=] {
    if (!inside(at, bytes)) return fault(context, CUDA_ERROR_ILLEGAL_ADDRESS, "memset: its memory has been freed since");
    memset(reinterpret_cast<void*>(at), value, bytes);
  });
}

}  // namespace

API cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) { NEED_CONTEXT; return copy(to, uintptr_t(from), bytes, &current->legacy, true, "cuMemcpyHtoD"); }
API cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) { NEED_CONTEXT; return copy(uintptr_t(to), from, bytes, &current->legacy, true, "cuMemcpyDtoH"); }
API cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) { NEED_CONTEXT; return copy(to, from, bytes, &current->legacy, true, "cuMemcpyDtoD"); }
API cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) { NEED_CONTEXT; return copy(to, from, bytes, &current->legacy, true, "cuMemcpy"); }
API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream s) { NEED_CONTEXT; return copy(to, uintptr_t(from), bytes, stream_of(s), false, "cuMemcpyHtoDAsync"); }
API cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream s) { NEED_CONTEXT; return copy(uintptr_t(to), from, bytes, stream_of(s), false, "cuMemcpyDtoHAsync"); }
API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s) { NEED_CONTEXT; return copy(to, from, bytes, stream_of(s), false, "cuMemcpyDtoDAsync"); }
API cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s) { NEED_CONTEXT; return copy(to, from, bytes, stream_of(s), false, "cuMemcpyAsync"); }
API cuMemcpyPeerAsync(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t bytes, CUstream s) { NEED_CONTEXT; return copy(to, from, bytes, stream_of(s), false, "cuMemcpyPeerAsync"); }
API cuMemsetD8_v2(CUdeviceptr at, unsigned char value, size_t bytes) { NEED_CONTEXT; return set(at, value, bytes, &current->legacy); }
API cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t bytes, CUstream s) { NEED_CONTEXT; return set(at, value, bytes, stream_of(s)); }
