// The driver API: streams, events, capture and graphs.
#pragma once
#include "api_memory.h"

// ---- streams and events ---------------------------------------------------------------------------------------------

API cuStreamCreateWithPriority(CUstream* made, unsigned flags, int priority) {
  NEED_CONTEXT;
  Lock lock(global);
  Stream* stream = new Stream{current, flags};
  stream->priority = priority;
  stream->id = identities++;
  current->streams.insert(stream);
  *made = reinterpret_cast<CUstream>(stream);
  note("stream %llu flags %u", (unsigned long long)stream->id, flags);
  return CUDA_SUCCESS;
}
API cuStreamCreate(CUstream* made, unsigned flags) { return cuStreamCreateWithPriority(made, flags, 0); }
API cuStreamDestroy_v2(CUstream handle) {
  Lock lock(global);
  Stream* stream = stream_of(handle);
  if (!stream || stream->legacy || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  stream->context->streams.erase(stream);
  delete stream;  // its operations live on in `pending`
  return CUDA_SUCCESS;
}
API cuStreamSynchronize(CUstream handle) { NEED_CONTEXT; Lock lock(global); return wait_for(stream_of(handle)); }
API cuStreamQuery(CUstream handle) {
  NEED_CONTEXT;
  Lock lock(global);
  Stream* stream = stream_of(handle);
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) return break_capture(stream->capture, "cuStreamQuery"), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  const bool done = !stream->last || stream->last->done;
  if (!done && !pending.empty()) perform(pending.begin()->second);  // who asks again and again gets there
  return done ? stream->context->sticky : CUDA_ERROR_NOT_READY;
}
API cuStreamGetFlags(CUstream handle, unsigned* flags) { NEED_CONTEXT; *flags = stream_of(handle)->flags; return CUDA_SUCCESS; }
API cuStreamGetPriority(CUstream handle, int* priority) { NEED_CONTEXT; *priority = stream_of(handle)->priority; return CUDA_SUCCESS; }
API cuStreamGetId(CUstream handle, unsigned long long* id) { NEED_CONTEXT; *id = stream_of(handle)->id; return CUDA_SUCCESS; }
API cuStreamGetDevice(CUstream handle, CUdevice* device) { NEED_CONTEXT; *device = stream_of(handle)->context->device; return CUDA_SUCCESS; }
API cuStreamGetCtx(CUstream handle, CUcontext* context) {
  NEED_CONTEXT;
  *context = reinterpret_cast<CUcontext>(stream_of(handle)->context);
  return CUDA_SUCCESS;
}

API cuEventCreate(CUevent* made, unsigned flags) {
  NEED_CONTEXT;
  Lock lock(global);
  Event* event = new Event{current, flags};
  live_events.insert(event);
  *made = reinterpret_cast<CUevent>(event);
  return CUDA_SUCCESS;
}
API cuEventDestroy_v2(CUevent handle) {
  Lock lock(global);
  if (!live_events.erase(handle)) return CUDA_ERROR_INVALID_HANDLE;
  delete reinterpret_cast<Event*>(handle);
  return CUDA_SUCCESS;
}
API cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned) {
  NEED_CONTEXT;
  Lock lock(global);
  Stream* stream = stream_of(stream_handle);
  Event* event = reinterpret_cast<Event*>(handle);
  if (!live_events.count(event) || !stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (event->context != stream->context) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) {
    if (stream->capture->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    event->capture = stream->capture;
    event->tail = stream->tail;
    event->op = nullptr;
    return CUDA_SUCCESS;
  }
  event->capture = nullptr;
  return enqueue(stream, "event", nullptr, &event->op);
}
API cuEventRecord(CUevent event, CUstream stream) { return cuEventRecordWithFlags(event, stream, 0); }
API cuStreamWaitEvent(CUstream stream_handle, CUevent handle, unsigned) {
  NEED_CONTEXT;
  Lock lock(global);
  Stream* stream = stream_of(stream_handle);
  Event* event = reinterpret_cast<Event*>(handle);
  if (!live_events.count(event) || !stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (event->capture) {
    if (stream->legacy) return break_capture(event->capture, "the legacy stream waits for a captured event"), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    if (stream->capture && stream->capture != event->capture) return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    stream->capture = event->capture;
    stream->capture->streams.insert(stream);
    stream->tail.insert(stream->tail.end(), event->tail.begin(), event->tail.end());
    return CUDA_SUCCESS;
  }
  if (stream->capture) {
    break_capture(stream->capture, "waiting for an event from outside");
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (!event->op || order == Order::never) return CUDA_SUCCESS;
  std::vector<Op> after = before_next(stream);
  after.push_back(event->op);
  if (CUresult result = implicit(stream)) return result;
  stream->last = operation("wait", after, nullptr);
  some_progress();
  return CUDA_SUCCESS;
}
API cuEventSynchronize(CUevent handle) {
  NEED_CONTEXT;
  Lock lock(global);
  ++waits;
  Event* event = reinterpret_cast<Event*>(handle);
  if (!live_events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
  if (event->capture) return break_capture(event->capture, "cuEventSynchronize"), CUDA_ERROR_CAPTURED_EVENT;
  force(event->op);
  return event->context->sticky;
}
API cuEventQuery(CUevent handle) {
  Lock lock(global);
  Event* event = reinterpret_cast<Event*>(handle);
  if (!live_events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
  if (event->capture) return break_capture(event->capture, "cuEventQuery"), CUDA_ERROR_CAPTURED_EVENT;
  const bool done = !event->op || event->op->done;
  if (!done && !pending.empty()) perform(pending.begin()->second);
  return done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
API cuEventElapsedTime_v2(float* milliseconds, CUevent first, CUevent second) {
  Lock lock(global);
  Event *a = reinterpret_cast<Event*>(first), *b = reinterpret_cast<Event*>(second);
  if (!live_events.count(a) || !live_events.count(b) || !a->op || !b->op) return CUDA_ERROR_INVALID_HANDLE;
  if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
  if (!a->op->done || !b->op->done) return CUDA_ERROR_NOT_READY;
  *milliseconds = float(b->op->ended - a->op->ended);
  return CUDA_SUCCESS;
}

// ---- capture and graphs ---------------------------------------------------------------------------------------------

API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) { std::swap(*mode, thread_mode); return CUDA_SUCCESS; }
API cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
  NEED_CONTEXT;
  Lock lock(global);
  Stream* stream = stream_of(handle);
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->legacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
  auto capture = std::make_shared<Capture>();
  capture->id = identities++;
  capture->mode = mode;
  capture->origin = stream;
  capture->thread = this_thread();
  capture->streams.insert(stream);
  captures.insert(capture);
  live_graphs.insert(capture->graph);
  stream->capture = capture;
  stream->tail.clear();
  note("begin capture, mode %d", mode);
  return CUDA_SUCCESS;
}
API cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  HAVE_CONTEXT;
  Lock lock(global);
  Stream* stream = stream_of(handle);
  if (graph) *graph = nullptr;
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  auto capture = stream->capture;
  if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin != stream) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != this_thread())
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  std::set<size_t> followed, ends(stream->tail.begin(), stream->tail.end());
  for (const Node& node : capture->graph->nodes) followed.insert(node.after.begin(), node.after.end());
  bool joined = true;
  for (size_t i = 0; i < capture->graph->nodes.size(); ++i) joined &= followed.count(i) || ends.count(i);
  for (Stream* one : capture->streams)
    if (known(one)) one->capture = nullptr, one->tail.clear();
  captures.erase(capture);
  note("end capture: %zu nodes", capture->graph->nodes.size());
  if (capture->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!joined) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  if (CUresult meant = planned(__func__)) return meant;
  *graph = reinterpret_cast<CUgraph>(capture->graph);
  return CUDA_SUCCESS;
}
API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
  NEED_CONTEXT;
  Lock lock(global);
  Stream* stream = stream_of(handle);
  if (!stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult result = implicit(stream)) return result;
  *status = !stream->capture ? CU_STREAM_CAPTURE_STATUS_NONE
            : stream->capture->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}
API cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph,
                              const CUgraphNode**, const CUgraphEdgeData**, size_t* count) {
  if (CUresult result = cuStreamIsCapturing(handle, status)) return result;
  Stream* stream = stream_of(handle);
  if (id) *id = stream->capture ? stream->capture->id : 0;
  if (graph) *graph = stream->capture ? reinterpret_cast<CUgraph>(stream->capture->graph) : nullptr;
  if (count) *count = 0;
  return CUDA_SUCCESS;
}

API cuGraphInstantiateWithFlags(CUgraphExec* made, CUgraph handle, unsigned long long) {
  NEED_CONTEXT;
  Lock lock(global);
  if (!live_graphs.count(handle)) return CUDA_ERROR_INVALID_VALUE;
  Exec* exec = new Exec{*reinterpret_cast<Graph*>(handle), current};
  live_execs.insert(exec);
  *made = reinterpret_cast<CUgraphExec>(exec);
  return CUDA_SUCCESS;
}
API cuGraphInstantiateWithParams(CUgraphExec* made, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
  params->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  return cuGraphInstantiateWithFlags(made, graph, params->flags);
}
API cuGraphInstantiate_v2(CUgraphExec* made, CUgraph graph, CUgraphNode*, char*, size_t) {
  return cuGraphInstantiateWithFlags(made, graph, 0);
}
API cuGraphDestroy(CUgraph handle) {
  Lock lock(global);
  if (!live_graphs.erase(handle)) return CUDA_ERROR_INVALID_VALUE;
  delete reinterpret_cast<Graph*>(handle);
  return CUDA_SUCCESS;
}
API cuGraphExecDestroy(CUgraphExec handle) {
  Lock lock(global);
  if (!live_execs.erase(handle)) return CUDA_ERROR_INVALID_VALUE;
  delete reinterpret_cast<Exec*>(handle);
  return CUDA_SUCCESS;
}
API cuGraphUpload(CUgraphExec, CUstream) { return CUDA_SUCCESS; }
API cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  NEED_CONTEXT;
  Lock lock(global);
  Stream* stream = stream_of(stream_handle);
  if (!live_execs.count(handle) || !stream || !known(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) return break_capture(stream->capture, "a graph within a graph is not written here"), CUDA_ERROR_NOT_SUPPORTED;
  if (stream->context->sticky) return stream->context->sticky;
  if (CUresult result = implicit(stream)) return result;
  if (order == Order::never) return CUDA_SUCCESS;
  Exec* exec = reinterpret_cast<Exec*>(handle);
  std::vector<Op> after = before_next(stream), made;
  after.push_back(exec->last);
  Op start = operation("graph begins", after, nullptr);
  for (const Node& node : exec->graph.nodes) {
    std::vector<Op> before{start};
    for (size_t i : node.after) before.push_back(made[i]);
    made.push_back(operation("node " + node.what, before, node.run));
  }
  made.push_back(start);
  stream->last = exec->last = operation("graph ends", made, nullptr);
  note("launch graph of %zu nodes on stream %llu", exec->graph.nodes.size(), (unsigned long long)stream->id);
  some_progress();
  return stream->context->sticky;
}
API cuGraphGetNodes(CUgraph handle, CUgraphNode*, size_t* count) {
  *count = reinterpret_cast<Graph*>(handle)->nodes.size();
  return CUDA_SUCCESS;
}
