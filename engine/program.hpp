// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/executor.hpp"
#include "engine/stream.hpp"

namespace anaphase::engine {

/// What the planner made of a program's buffers.
struct MemoryPlan {
  std::size_t calls = 0;
  std::size_t buffers = 0;
  std::size_t peak_bytes = 0;   // the one block that all buffers share
  std::size_t total_bytes = 0;  // what they would take without sharing
};

/// Time and work of the calls of one name in a program.
struct CallProfile {
  int calls = 0;
  double seconds = 0;
  double flops = 0;
  double bytes = 0;  // read and written; as Call::bytes
};

/// A traced step: a fixed list of calls over one block of memory. Replaying allocates nothing; it
/// reads and writes the same addresses each time, so new input is copied into the input tensors
/// first and results are read from the result tensors before the next replay. On a GPU a replay is
/// one launch of a graph from the second on, and has only been enqueued when `replay` returns.
class Program {
 public:
  Program() = default;

  void replay();
  /// The next replay derives anew what depends on parameters alone. To be called when parameters
  /// have changed and the trace was told that they are fixed.
  void parameters_changed() { is_prepared_ = false; }
  /// How often `replay` was called.
  std::int64_t replays() const { return replays_; }
  const MemoryPlan& plan() const { return plan_; }
  const std::vector<Call>& calls() const { return calls_; }
  /// Multiplications and additions of one replay, summed by the calls' names.
  std::map<std::string, double> work() const;
  /// Replays once, call by call, and returns the seconds that each of `calls` took.
  std::vector<double> time_calls();
  /// The same, after a replay that warms up, summed by the calls' names.
  std::map<std::string, CallProfile> profile();

 private:
  friend class Trace;
  void prepare();
  void make(const std::vector<Call>& calls) const;

  Device device_;
  std::vector<Call> preparations_, calls_;
  std::shared_ptr<std::byte> block_;
  MemoryPlan plan_;
  std::int64_t replays_ = 0;
  bool is_prepared_ = false;
  bool is_warm_ = false;  // has been replayed
  Graph graph_;           // of a warm program on a GPU
};

/// Collects calls instead of running them. Tensors from make_tensor (inputs, parameters, state)
/// keep their own memory; tensors allocated here share one block by lifetime, from the first call
/// that names them to the last.
class Trace final : public Executor {
 public:
  enum class Parameters : unsigned char { change, fixed };

  explicit Trace(Device device, Parameters parameters = Parameters::change)
      : Executor(std::move(device)), parameters_(parameters) {}
  Tensor allocate(Shape shape, DType type) override;
  void run(Call call) override;
  bool parameters_are_fixed() const override { return parameters_ == Parameters::fixed; }
  void prepare(Call call) override;

  /// Ends the trace. `results` stay readable after a replay. Throws std::logic_error when a call
  /// reads a buffer that no earlier call has written.
  Program finish(const std::vector<Tensor>& results);

 private:
  Parameters parameters_;
  std::vector<Call> preparations_, calls_;
};

/// A buffer's lifetime, in call numbers, both ends included.
struct Lifetime {
  std::size_t bytes = 0;
  std::size_t first = 0, last = 0;
};

/// Offsets (multiples of 64) such that buffers alive at the same time do not overlap, and the bytes
/// needed: largest buffer first, each at the lowest place that is free during its life (greedy by
/// size, Pisarchyk and Lee, arXiv 2001.03288).
std::size_t plan_offsets(const std::vector<Lifetime>& lifetimes, std::vector<std::size_t>& offsets);

}  // namespace anaphase::engine
