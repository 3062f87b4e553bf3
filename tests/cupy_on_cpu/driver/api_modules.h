// The driver API: modules, kernels, errors.
#pragma once
#include "api_streams.h"

// ---- modules and kernels --------------------------------------------------------------------------------------------

API cuModuleLoadData(CUmodule* made, const void* image) {
  NEED_CONTEXT;
  const char* text = static_cast<const char*>(image);
  const size_t bytes = image_bytes(text);
  char path[4096] = "";
  if (!resolver) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  resolver(text, bytes, path, sizeof path);  // not under the lock: it runs Python
  Lock lock(global);
  if (path[0] == '!' || !path[0]) {
    last_fault = path[0] ? path + 1 : "the resolver gave nothing";
    fprintf(stderr, "fakecuda: cuModuleLoadData: %s\n", last_fault.c_str());
    return CUDA_ERROR_INVALID_IMAGE;
  }
  Module* module = new Module{current, std::string(text, bytes), path};
  module->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!module->handle) {
    last_fault = dlerror();
    fprintf(stderr, "fakecuda: %s\n", last_fault.c_str());
    return CUDA_ERROR_INVALID_IMAGE;
  }
  *made = reinterpret_cast<CUmodule>(module);
  note("module %s", path);
  return CUDA_SUCCESS;
}
API cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
API cuModuleGetFunction(CUfunction* made, CUmodule handle, const char* name) {
  if (CUresult meant = planned(__func__)) return meant;
  Lock lock(global);
  Module* module = reinterpret_cast<Module*>(handle);
  auto symbol = [&](const char* prefix) { return dlsym(module->handle, (std::string(prefix) + name).c_str()); };
  void* run = symbol("emu_run_");
  if (!run) return CUDA_ERROR_NOT_FOUND;
  Function* function = new Function{module, name, reinterpret_cast<void (*)(void**)>(run)};
  function->touch = reinterpret_cast<void* (*)()>(dlsym(module->handle, "emu_touch_shared"));
  function->threads = reinterpret_cast<int (*)()>(symbol("emu_threads_"))();
  function->statics = static_shared(module->image, name);
  function->dynamic = 48 * 1024 - function->statics;
  std::string codes = reinterpret_cast<const char* (*)()>(symbol("emu_code_"))();
  for (size_t at = 0; at < codes.size();) {
    size_t end = codes.find(' ', at);
    if (end == std::string::npos) end = codes.size();
    if (end > at) function->codes.push_back(codes.substr(at, end - at));
    at = end + 1;
  }
  *made = reinterpret_cast<CUfunction>(function);
  note("function %s: %s, %d bytes of static shared memory", name, codes.c_str(), function->statics);
  return CUDA_SUCCESS;
}
API cuModuleGetGlobal_v2(CUdeviceptr*, size_t*, CUmodule, const char*) { return CUDA_ERROR_NOT_SUPPORTED; }
API cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
  Function* function = reinterpret_cast<Function*>(handle);
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = function->threads; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = function->dynamic; break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = function->statics; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: case CU_FUNC_ATTRIBUTE_PTX_VERSION: *value = capability; break;
    default: *value = 0;
  }
  return CUDA_SUCCESS;
}
API cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  Function* function = reinterpret_cast<Function*>(handle);
  note("cuFuncSetAttribute %s %d = %d", function->name.c_str(), attribute, value);
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_SUCCESS;
  if (value + function->statics > 227 * 1024) return CUDA_ERROR_INVALID_VALUE;
  function->dynamic = value;
  return CUDA_SUCCESS;
}
API cuLaunchKernel(CUfunction handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, CUstream stream_handle, void** parameters, void**) {
  NEED_CONTEXT;
  Lock lock(global);
  Function* function = reinterpret_cast<Function*>(handle);
  Stream* stream = stream_of(stream_handle);
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (function->module->context != stream->context) return CUDA_ERROR_INVALID_HANDLE;
  if (!gx || !gy || !gz || !bx || !by || !bz || gx > 2147483647u || gy > 65535 || gz > 65535 || bx > 1024 || by > 1024 ||
      bz > 64 || bx * by * bz > 1024)
    return CUDA_ERROR_INVALID_VALUE;
  if (int(bx * by * bz) > function->threads) return CUDA_ERROR_INVALID_VALUE;
  if (int(shared) > function->dynamic) return CUDA_ERROR_INVALID_VALUE;
  auto launch = std::make_shared<Launch>(Launch{function, {gx, gy, gz}, {bx, by, bz}, shared, {}});
  for (size_t i = 0; i < function->codes.size(); ++i) {
    const char* at = static_cast<const char*>(parameters[i]);
    launch->arguments.emplace_back(at, at + size_of(function->codes[i]));
  }
  return enqueue(stream, function->name, [launch] { run_kernel(launch); });
}
API cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              unsigned shared, CUstream stream, void** parameters) {
  return cuLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, parameters, nullptr);
}
API cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) { *mode = CU_MODULE_EAGER_LOADING; return CUDA_SUCCESS; }

// ---- errors ---------------------------------------------------------------------------------------------------------

API cuGetErrorName(CUresult result, const char** text) {
  static const std::map<int, const char*> names{
      {0, "CUDA_SUCCESS"}, {1, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {100, "CUDA_ERROR_NO_DEVICE"},
      {101, "CUDA_ERROR_INVALID_DEVICE"}, {200, "CUDA_ERROR_INVALID_IMAGE"}, {201, "CUDA_ERROR_INVALID_CONTEXT"},
      {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"}, {400, "CUDA_ERROR_INVALID_HANDLE"}, {500, "CUDA_ERROR_NOT_FOUND"},
      {600, "CUDA_ERROR_NOT_READY"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {719, "CUDA_ERROR_LAUNCH_FAILED"},
      {801, "CUDA_ERROR_NOT_SUPPORTED"}, {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
      {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}};
  auto found = names.find(result);
  *text = found == names.end() ? "CUDA_ERROR" : found->second;
  return CUDA_SUCCESS;
}
API cuGetErrorString(CUresult, const char** text) {
  *text = last_fault.empty() ? "no words for it here" : last_fault.c_str();
  return CUDA_SUCCESS;
}

// ---- what NVRTC asks a driver that it finds -------------------------------------------------------------------------

API cuGetExportTable(const void** table, const CUuuid*) {
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}
