// SPDX-License-Identifier: Apache-2.0
#pragma once

// What bench_ladders measures with and prints: memory of the device, the time of a call, and the
// table of one operation's rungs.

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "kernels/common/gpu_runtime.hpp"

namespace anaphase::bench {

using kernels::DType;
using kernels::GpuRuntime;
using kernels::Stream;

struct Options {
  Stream stream;
  int architecture = 0;  // compute capability times ten
  DType type = DType::bf16;
  bool tf32 = false;
  int size = 128, width = 64, batch = 4, repeats = 20;

  std::string type_name() const { return tf32 ? "tf32" : std::string(name_of(type)); }
  std::size_t element() const { return size_of(type); }
};

/// Memory of the device.
class Buffer {
 public:
  /// Full of numbers below 2 of either sign, in bf16 and in float32: zeros would cost the device
  /// less power.
  Buffer(const Stream& stream, std::size_t bytes)
      : Buffer(stream, [&] {
          std::vector<std::uint16_t> values(bytes / sizeof(std::uint16_t) + 1);
          std::uint32_t state = 1;
          for (std::uint16_t& value : values) {
            state = state * 1664525 + 1013904223;  // Numerical Recipes' generator
            value = static_cast<std::uint16_t>(0x3c00 | (state >> 16 & 0x83ff));
          }
          return values;
        }()) {}
  template <class T>
  Buffer(const Stream& stream, const std::vector<T>& values) : stream_(stream) {
    const GpuRuntime& gpu = gpu_runtime(stream.kind);
    const std::size_t bytes = values.size() * sizeof(T);
    data_ = gpu.allocate(stream, bytes);
    if (!data_) throw Error("the device has not enough memory: take a smaller --size or --batch");
    gpu.copy(stream, data_, values.data(), bytes);
    gpu.synchronize(stream);
  }
  ~Buffer() { gpu_runtime(stream_.kind).free(stream_, data_); }
  Buffer(const Buffer&) = delete;
  template <class T = void>
  T* get() const {
    return static_cast<T*>(data_);
  }

 private:
  Stream stream_;
  void* data_ = nullptr;
};

/// Microseconds a call, in a graph of `repeats` of them, after one call that loads what it needs.
inline double time_of(const Options& options, const std::function<void()>& call) {
  const GpuRuntime& gpu = gpu_runtime(options.stream.kind);
  call();
  gpu.synchronize(options.stream);
  gpu.begin_capture(options.stream);
  for (int i = 0; i < options.repeats; ++i) call();
  void* const graph = gpu.end_capture(options.stream);
  void* const start = gpu.make_event();
  void* const end = gpu.make_event();
  double least = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 3; ++round) {
    gpu.record(options.stream, start);
    gpu.launch(options.stream, graph);
    gpu.record(options.stream, end);
    gpu.wait(end);
    least = std::min(least, gpu.seconds(start, end) * 1e6 / options.repeats);
  }
  gpu.free_event(start);
  gpu.free_event(end);
  gpu.free_graph(graph);
  return least;
}

/// The same for an operation that is given the scratch memory it asks for.
template <class Operation, class Call>
double time_with_workspace(const Options& options, std::size_t bytes, Operation op, Call&& call) {
  const Buffer workspace(options.stream, bytes);
  op.workspace = workspace.get();
  return time_of(options, [&] { call(op); });
}

/// What one operation does on one shape, and how long that took by each rung.
class Comparison {
 public:
  /// unit: "GFLOP/s", where `work` counts operations, or "GB/s", where it counts the bytes that
  /// have to be moved at least.
  Comparison(const Options& options, const std::string& operation, const std::string& shape,
             double work, const char* unit)
      : title_(fmt::format("{}, {}, {}", operation, shape, options.type_name())),
        work_(work),
        unit_(unit) {}

  void add(const std::string& rung, const std::string& idea, double us) {
    rungs_.push_back({rung, idea, us});
  }
  /// What `run` chooses, which is no step of the ladder.
  void add_chosen(double us) { chosen_ = {"run", "what the operation chooses", us}; }
  void add_yardstick(const std::string& library, double us) {
    yardstick_ = {library, "the yardstick", us};
  }

  void print() const {
    fmt::print("\n{}\n", title_);
    double before = 0;
    for (const Timed& rung : rungs_) {
      print(rung, before);
      before = rung.us;
    }
    if (chosen_) print(*chosen_, 0);
    if (yardstick_) print(*yardstick_, 0);
    std::fflush(stdout);
  }
  static void print_header() {
    fmt::print("{:18} {:50} {:>12} {:>10} {:8} {:>9} {:>10}\n", "rung", "idea", "us", "rate", "",
               "x before", "x library");
  }

 private:
  struct Timed {
    std::string name, idea;
    double us;
  };
  void print(const Timed& t, double before) const {
    const auto ratio = [](double us, double than) {
      return us > 0 ? fmt::format("{:.2f}", us / than) : std::string("-");
    };
    fmt::print("  {:16} {:50} {:12.1f} {:10.1f} {:8} {:>9} {:>10}\n", t.name, t.idea, t.us,
               work_ / t.us * 1e-3, unit_, ratio(before, t.us),
               ratio(yardstick_ ? yardstick_->us : 0, t.us));
  }

  std::string title_;
  double work_;
  const char* unit_;
  std::vector<Timed> rungs_;
  std::optional<Timed> chosen_, yardstick_;
};

}  // namespace anaphase::bench
