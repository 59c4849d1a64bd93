// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the engine asks of a GPU besides operations: which devices there are, streams, memory,
// events, graphs. gpu_runtime.cu implements it on the CUDA runtime and, compiled for the executor
// of kernels/simt, on its model; nothing else outside .cu files knows that runtime.

#include <cstddef>
#include <string>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

constexpr bool is_gpu(DeviceKind kind) {
  return kind == DeviceKind::cuda || kind == DeviceKind::simt;
}

/// The driver's answer. Versions are those of CUDA, 12040 for 12.4.
struct GpuDriver {
  int devices = 0;
  int version = 0;  // 0: no driver
  int needed = 0;   // by this program
  bool is_too_old = false;
  std::string error = {};  // why there are no devices
};

struct GpuFacts {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::size_t memory = 0;    // bytes
};

/// Functions that take a stream act in the order of its calls. They throw Error, but for those that
/// free.
class GpuRuntime {
 public:
  virtual ~GpuRuntime() = default;

  virtual GpuDriver driver() const = 0;
  virtual GpuFacts facts(int index) const = 0;

  /// A stream of its own. Memory that is freed on it stays with the program.
  virtual void* make_stream(int index) const = 0;
  /// What it has been given is still done.
  virtual void free_stream(void* stream) const = 0;
  virtual void make_current(const Stream& stream) const = 0;
  virtual void synchronize(const Stream& stream) const = 0;

  /// Null where there is not enough.
  virtual void* allocate(const Stream& stream, std::size_t bytes) const = 0;
  virtual void free(const Stream& stream, void* data) const = 0;
  virtual std::size_t free_bytes(const Stream& stream) const = 0;
  /// Host memory that the device copies from while the host goes on.
  virtual void* allocate_pinned(std::size_t bytes) const = 0;
  virtual void free_pinned(void* data) const = 0;

  /// Between the host's memory and the device's. From pinned memory it has only been enqueued.
  virtual void copy(const Stream& stream, void* to, const void* from, std::size_t bytes) const = 0;
  /// Rows of `row_bytes`, that many bytes or more apart.
  virtual void copy_rows(const Stream& stream, void* to, std::size_t to_stride, const void* from,
                         std::size_t from_stride, std::size_t row_bytes,
                         std::size_t rows) const = 0;
  virtual void clear(const Stream& stream, void* data, std::size_t bytes) const = 0;

  virtual void* make_event() const = 0;
  virtual void record(const Stream& stream, void* event) const = 0;
  /// Returns when the device has come to where the event was recorded; at once if nowhere.
  virtual void wait(void* event) const = 0;
  /// The stream's calls from here on wait for that, the host does not.
  virtual void hold(const Stream& stream, void* event) const = 0;
  virtual double seconds(void* start, void* end) const = 0;
  virtual void free_event(void* event) const = 0;

  /// From here on calls are noted instead of made.
  virtual void begin_capture(const Stream& stream) const = 0;
  /// The calls since, to be launched together.
  virtual void* end_capture(const Stream& stream) const = 0;
  virtual void launch(const Stream& stream, void* graph) const = 0;
  virtual void free_graph(void* graph) const = 0;
};

const GpuRuntime& gpu_runtime(Cuda);
const GpuRuntime& gpu_runtime(Simt);

/// Null for a kind that this build has not.
const GpuRuntime* find_gpu_runtime(DeviceKind kind);
/// Throws Error for it.
const GpuRuntime& gpu_runtime(DeviceKind kind);

/// The calling thread's kernels and events belong to the stream's device from here on.
void make_current(const Stream& stream);

}  // namespace anaphase::kernels
