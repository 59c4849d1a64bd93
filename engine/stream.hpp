// SPDX-License-Identifier: Apache-2.0
#pragma once

// What keeps the host and a device's queue of calls in step. A GPU works through its queue while
// the host goes on; calls of the other devices have ended when they return, and there all of this
// is trivial. A queue is for one thread at a time.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

#include "kernels/common/gpu_runtime.hpp"

namespace anaphase::engine {

/// A point in the queue, and the time at which the device came to it.
class Event {
 public:
  explicit Event(const kernels::Stream& stream);
  Event(Event&&) = default;

  /// The point is where the queue ends now.
  void record();
  /// The point is where another queue of the same device ends now.
  void record(const kernels::Stream& stream);
  /// What `stream`, a queue of the same device, is given from now on waits for the point; the host
  /// does not wait.
  void hold(const kernels::Stream& stream) const;
  /// Waits until the device has come to the point; not at all before `record`.
  void wait() const;
  /// Both events have been waited for.
  double seconds_since(const Event& earlier) const;

 private:
  kernels::Stream stream_;
  std::shared_ptr<void> gpu_event_;
  std::chrono::steady_clock::time_point time_;  // on a processor
};

/// Calls of a GPU that have been captured, to be launched at once.
class Graph {
 public:
  Graph() = default;  // empty
  /// Notes the calls that `make_calls` makes on the stream; they are not made now.
  Graph(const kernels::Stream& stream, const std::function<void()>& make_calls);

  explicit operator bool() const { return gpu_graph_ != nullptr; }
  void launch() const;

 private:
  kernels::Stream stream_;
  std::shared_ptr<void> gpu_graph_;
};

/// Host memory that a GPU copies from and to while the host goes on.
std::shared_ptr<void> make_pinned(const kernels::Stream& stream, std::size_t bytes);

/// Host memory through which values reach a GPU in the order of its calls, while the host goes on:
/// one half is filled while the device copies from the other.
class Staging {
 public:
  /// `half_bytes` is a multiple of 64.
  Staging(const kernels::Stream& stream, std::size_t half_bytes);

  /// `from` may change when this returns.
  void copy(std::byte* to, const std::byte* from, std::size_t bytes);

 private:
  struct Half {
    std::byte* memory;
    Event copied;
  };
  std::byte* space() const { return halves_[current_].memory + used_; }

  kernels::Stream stream_;
  std::size_t half_bytes_;
  std::shared_ptr<void> memory_;
  Half halves_[2];
  int current_ = 0;
  std::size_t used_ = 0;  // of the current half
};

}  // namespace anaphase::engine
