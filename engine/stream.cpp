// SPDX-License-Identifier: Apache-2.0
#include "engine/stream.hpp"

#include <algorithm>
#include <cstring>

namespace anaphase::engine {
namespace {

using kernels::gpu_runtime;
using kernels::is_gpu;

std::shared_ptr<void> make_gpu_event(const kernels::Stream& stream) {
  const kernels::GpuRuntime& runtime = gpu_runtime(stream.kind);
  kernels::make_current(stream);
  return {runtime.make_event(), [&runtime](void* event) { runtime.free_event(event); }};
}

}  // namespace

Event::Event(const kernels::Stream& stream) : stream_(stream) {
  if (is_gpu(stream.kind)) gpu_event_ = make_gpu_event(stream);
}

void Event::record() {
  record(stream_);
}

void Event::record(const kernels::Stream& stream) {
  if (gpu_event_)
    gpu_runtime(stream_.kind).record(stream, gpu_event_.get());
  else
    time_ = std::chrono::steady_clock::now();
}

void Event::wait() const {
  if (gpu_event_) gpu_runtime(stream_.kind).wait(gpu_event_.get());
}

void Event::hold(const kernels::Stream& stream) const {
  if (gpu_event_) gpu_runtime(stream_.kind).hold(stream, gpu_event_.get());
}

double Event::seconds_since(const Event& earlier) const {
  if (gpu_event_)
    return gpu_runtime(stream_.kind).seconds(earlier.gpu_event_.get(), gpu_event_.get());
  return std::chrono::duration<double>(time_ - earlier.time_).count();
}

Graph::Graph(const kernels::Stream& stream, const std::function<void()>& make_calls)
    : stream_(stream) {
  const kernels::GpuRuntime& runtime = gpu_runtime(stream.kind);
  const auto end = [&] {
    gpu_graph_ = {runtime.end_capture(stream),
                  [&runtime](void* graph) { runtime.free_graph(graph); }};
  };
  runtime.begin_capture(stream);
  try {
    make_calls();
  } catch (...) {
    try {
      end();
    } catch (const Error&) {  // what went wrong first is what counts
    }
    throw;
  }
  end();
}

void Graph::launch() const {
  gpu_runtime(stream_.kind).launch(stream_, gpu_graph_.get());
}

std::shared_ptr<void> make_pinned(const kernels::Stream& stream, std::size_t bytes) {
  const kernels::GpuRuntime& runtime = gpu_runtime(stream.kind);
  kernels::make_current(stream);
  return {runtime.allocate_pinned(bytes), [&runtime](void* data) { runtime.free_pinned(data); }};
}

Staging::Staging(const kernels::Stream& stream, std::size_t half_bytes)
    : stream_(stream),
      half_bytes_(half_bytes),
      memory_(make_pinned(stream, 2 * half_bytes)),
      halves_{{static_cast<std::byte*>(memory_.get()), Event(stream)},
              {static_cast<std::byte*>(memory_.get()) + half_bytes, Event(stream)}} {}

void Staging::copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  constexpr std::size_t line = 64;  // of a cache
  while (bytes > 0) {
    if (used_ == half_bytes_) {
      halves_[current_].copied.record();
      current_ = 1 - current_;
      halves_[current_].copied.wait();
      used_ = 0;
    }
    const std::size_t part = std::min(bytes, half_bytes_ - used_);
    std::memcpy(space(), from, part);
    gpu_runtime(stream_.kind).copy(stream_, to, space(), part);
    used_ += (part + line - 1) / line * line;
    to += part;
    from += part;
    bytes -= part;
  }
}

}  // namespace anaphase::engine
