// SPDX-License-Identifier: Apache-2.0
#pragma once

// One suite for the contract: an operation is described once, run on the reference device in double
// and on the device under test in its own type, and every output compared.
//
//   for_each_target([](Target target) {
//     compare(target, [&](Arena& m) {
//       return Concat{.rows = 3, .channels_a = 2, .channels_b = 5, .type = m.type(),
//                     .a = m.input("a", 3 * 2), .b = m.input("b", 3 * 5), .y = m.output("y", 3 *
//                     7)};
//     }, {.relative = 0});
//   });
//
// Inputs are rounded to the tested type before either device sees them, so that the error measured
// is the kernel's alone. Outputs start as NaN (integers as 0x80...) with guard bytes behind them:
// an element left unwritten or a write past the end fails. Outputs are compared by
//   |y - y_ref| <= absolute + relative * (|y_ref| + scale),  scale = root mean square of y_ref
// and a NaN on one side alone fails.

#include <omp.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/launch.hpp"

namespace anaphase::test {

using kernels::DType;

/// A device and the type it computes in.
struct Target {
  kernels::Stream stream;
  DType type;
  std::string name() const;
  /// CUDA kernels on the executor: some hundred times slower than the CPU's own.
  bool is_simt() const { return stream.kind == kernels::DeviceKind::simt; }
};

/// Visits f32 and bf16 on every device of this build that can run (bf16 on the CPU where the
/// processor supports it).
void for_each_target(const std::function<void(const Target&)>& visit);

/// Visits f32 and bf16 on the executor while it stands for compute capability architecture / 10;
/// nothing in a build without it.
void for_each_simt_target(int architecture, const std::function<void(const Target&)>& visit);

struct Tolerance {
  double relative = 0;  // for f32; a bf16 target adds bf16_relative
  double absolute = 0;
  double bf16_relative =
      0x1p-8;  // one rounding to bf16 (half an ulp is 2^-9), with room for one of an input
};

/// Memory for one run of an operation. The same sequence of calls, with the same names, has to be
/// made for the reference and for the device under test.
class Arena {
 public:
  Arena(kernels::Stream stream, DType type, DType rounding);
  ~Arena();
  Arena(const Arena&) = delete;

  const kernels::Stream& stream() const { return stream_; }
  DType type() const { return type_; }                        // of activations
  DType param() const { return kernels::param_type(type_); }  // of parameters and statistics

  /// Values in [low, high), the same for the same name and seed, rounded to the tested type.
  void* input(const std::string& name, std::int64_t count, double low = -1, double high = 1);
  void* input(const std::string& name, const std::vector<double>& values);
  /// The same in param type; not rounded to bf16.
  void* param_input(const std::string& name, std::int64_t count, double low = -1, double high = 1);
  void* param_input(const std::string& name, const std::vector<double>& values);
  std::int32_t* labels(const std::string& name, const std::vector<std::int32_t>& values);
  std::uint64_t* keys(const std::string& name, const std::vector<std::uint64_t>& values);

  void* output(const std::string& name, std::int64_t count);
  void* param_output(const std::string& name, std::int64_t count);
  std::int32_t* label_output(const std::string& name, std::int64_t count);
  /// An input that the operation changes in place: compared like an output.
  void* in_out(const std::string& name, std::int64_t count, double low = -1, double high = 1);
  void* param_in_out(const std::string& name, const std::vector<double>& values);
  std::int32_t* label_in_out(const std::string& name, const std::vector<std::int32_t>& values);

  void* workspace(std::size_t bytes);

  /// The contents of an output (or input) as doubles.
  std::vector<double> values(const std::string& name) const;
  std::vector<std::string> outputs() const;
  /// A message for every buffer behind which bytes were written.
  std::vector<std::string> overruns() const;

 private:
  struct Buffer;
  Buffer& add(const std::string& name, DType type, std::int64_t count, bool is_output);
  void fill(Buffer& buffer, const std::vector<double>& values, DType rounding);

  kernels::Stream stream_;
  DType type_, rounding_;
  std::map<std::string, std::unique_ptr<Buffer>> buffers_;
  std::vector<std::string> outputs_;
};

/// Deterministic values in [low, high) for a name.
std::vector<double> random_values(const std::string& name, std::int64_t count, double low,
                                  double high);

/// A message for every output that is not as it should be, and for every overrun.
std::vector<std::string> mismatches(const Target& target, const Arena& reference,
                                    const Arena& tested, Tolerance tolerance);

/// Fails the running test for every mismatch.
void compare_outputs(const Target& target, const Arena& reference, const Arena& tested,
                     Tolerance tolerance);

/// Fails where two runs of the same operation differ in any bit of any output.
void compare_bits(const Arena& first, const Arena& second);

/// Runs what `build(arena)` returns, with the workspace it asks for.
template <class Build>
void run_in(Arena& arena, Build&& build) {
  auto op = build(arena);
  if constexpr (requires { op.workspace; })
    op.workspace = arena.workspace(kernels::workspace_bytes(arena.stream(), op));
  kernels::launch(arena.stream(), op);
}

/// The same on packed parameters; false where the device packs none.
template <class Build>
bool run_packed_in(Arena& arena, Build&& build) {
  auto op = build(arena);
  if constexpr (requires { op.packed; }) {
    const std::size_t bytes = kernels::packed_bytes(arena.stream(), op);
    if (bytes == 0) return false;
    void* packed = arena.output("packed", static_cast<std::int64_t>(bytes / size_of(arena.type())));
    kernels::launch(arena.stream(), kernels::Pack<decltype(op)>{op, packed});
    op.packed = packed;
    op.weight = nullptr;
    op.workspace = arena.workspace(kernels::workspace_bytes(arena.stream(), op));
    kernels::launch(arena.stream(), op);
    return true;
  }
  return false;
}

/// Shuffles the order in which the executor runs blocks, warps and lanes; another one in each call.
void shuffle_order(const Target& target);

/// Runs `build` on the reference device and twice on the target: all outputs have to agree within
/// the tolerance, the two runs of the target (on simt in different orders) to the last bit. Where
/// the device packs parameters, the operation agrees on those as well.
template <class Build>
void compare(const Target& target, Build&& build, Tolerance tolerance) {
  Arena reference({kernels::DeviceKind::reference}, DType::f64, target.type);
  Arena first(target.stream, target.type, target.type),
      second(target.stream, target.type, target.type);
  for (Arena* arena : {&reference, &first, &second}) {
    shuffle_order(target);
    run_in(*arena, build);
  }
  compare_outputs(target, reference, first, tolerance);
  compare_bits(first, second);
  Arena packed(target.stream, target.type, target.type);
  if (run_packed_in(packed, build)) compare_outputs(target, reference, packed, tolerance);
}

/// Fails where the result on the target depends on the number of threads.
template <class Build>
void compare_thread_counts(const Target& target, Build&& build) {
  const int threads = omp_get_max_threads();
  const auto compare_runs = [&](auto&& run) {
    Arena one(target.stream, target.type, target.type),
        three(target.stream, target.type, target.type);
    omp_set_num_threads(1);
    run(one);
    omp_set_num_threads(3);
    run(three);
    omp_set_num_threads(threads);
    compare_bits(one, three);
  };
  compare_runs([&](Arena& arena) { run_in(arena, build); });
  compare_runs([&](Arena& arena) { run_packed_in(arena, build); });
}

}  // namespace anaphase::test
