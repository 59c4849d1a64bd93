// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/executor.hpp"

namespace anaphase::engine {

/// Reverse-mode differentiation. Operations (engine/ops/*.hpp) launch their kernels through a tape
/// and, where an input needs a gradient, leave a node on it; `backward` walks the nodes from last
/// to first and adds where gradients meet. The walk launches kernels through the same executor, so
/// a traced tape becomes a program of forward and backward pass alike.
class Tape {
 public:
  enum class Mode : unsigned char { differentiate, infer };

  explicit Tape(Executor& executor, Mode mode = Mode::differentiate)
      : executor_(executor), mode_(mode) {}

  const Device& device() const { return executor_.device(); }
  Tensor allocate(Shape shape, DType type) { return executor_.allocate(std::move(shape), type); }
  Tensor allocate_like(const Tensor& x) { return executor_.allocate(x.shape(), x.type()); }

  bool differentiates() const { return mode_ == Mode::differentiate; }

  /// Launches the kernel operation that `build()` returns. `build` runs once here, for the sizes,
  /// and again whenever the call is made, for the addresses. Scratch memory is provided.
  template <class Build>
  void launch(std::string name, std::vector<Tensor> reads, std::vector<Tensor> writes, Build build);

  /// Whether copies of parameters in another layout are worth making: nothing is differentiated and
  /// the program keeps its parameters.
  bool parameters_are_fixed() const {
    return !differentiates() && executor_.parameters_are_fixed();
  }
  /// As `launch`, for an operation without scratch memory that reads parameters alone, and writes
  /// tensors of `allocate_derived`: where parameters are fixed it runs once.
  template <class Build>
  void derive(std::string name, std::vector<Tensor> reads, std::vector<Tensor> writes,
              Build build) {
    if (!parameters_are_fixed())
      return launch(std::move(name), std::move(reads), std::move(writes), std::move(build));
    executor_.prepare({std::move(name), std::move(reads), std::move(writes),
                       [build = std::move(build)](const kernels::Stream& stream) {
                         kernels::launch(stream, build());
                       }});
  }
  Tensor allocate_derived(Shape shape, DType type) {
    return parameters_are_fixed() ? make_tensor(device(), std::move(shape), type)
                                  : allocate(std::move(shape), type);
  }

  /// Computes gradients of the node's inputs, in order, from that of its output; an empty tensor
  /// for an input that gets none. Only inputs that need a gradient have to be computed.
  using Backward = std::function<std::vector<Tensor>(const Tensor& output_gradient)>;
  /// Notes how `output` came from `inputs`; nothing happens where no input needs a gradient.
  void record(std::vector<Tensor> inputs, const Tensor& output, Backward backward);

  /// Asks for the gradient of a tensor that is no parameter: call before it is used, read with
  /// `gradient`.
  void watch(const Tensor& tensor) { tensor.impl_->needs_gradient = true; }

  /// Gradients of `root` (times `seed`; ones if empty) for everything recorded. Parameters'
  /// gradients are added to Tensor::gradient(). The nodes that `root` depends on are spent; those
  /// of other roots stay. Throws std::logic_error for a root that no node on the tape has made.
  void backward(const Tensor& root, Tensor seed = {});
  /// After `backward`: the gradient of a watched tensor, empty if `root` does not depend on it.
  Tensor gradient(const Tensor& tensor) const;

  /// The parameters of the operation that `build()` returns in the device's own layout, for its
  /// `packed`; empty where the device has none or parameters may change. `build` runs as for
  /// `launch`.
  template <class Build>
  Tensor packed(const Tensor& parameters, Build build);

  /// `parameter` in another type, converted once for each tape, or once for all where parameters
  /// are fixed; gradients do not pass through.
  Tensor converted(const Tensor& parameter, DType type);

 private:
  struct Node {
    std::vector<Tensor> inputs;
    Tensor output;
    Backward backward;
  };
  struct Sum {
    Tensor value;
    bool owned = false;  // by the tape alone: may be added to in place
  };
  void accumulate(const Tensor& tensor, const Tensor& contribution);

  Executor& executor_;
  Mode mode_;
  std::vector<Node> nodes_;
  std::unordered_map<const void*, Sum> gradients_;
  std::unordered_map<const void*, std::pair<Tensor, Tensor>> converted_;  // parameter, its copy
};

/// Floating-point operations of a kernel call: its own count where the operation defines one
/// (`flop_count(op)`), else `written` elements times a nominal 8.
template <class Operation>
double flops_of(const Operation& op, double written) {
  if constexpr (requires { flop_count(op); })
    return flop_count(op);
  else
    return 8 * written;
}

template <class Build>
Tensor Tape::packed(const Tensor& parameters, Build build) {
  if (!parameters_are_fixed()) return {};
  const std::size_t bytes = kernels::packed_bytes(device().stream(), build());
  if (bytes == 0) return {};
  const Tensor packed = allocate_derived({static_cast<std::int64_t>((bytes + 3) / 4)}, DType::i32);
  derive("pack", {parameters}, {packed}, [build = std::move(build), packed] {
    return kernels::Pack<decltype(build())>{build(), packed.data()};
  });
  return packed;
}

template <class Build>
void Tape::launch(std::string name, std::vector<Tensor> reads, std::vector<Tensor> writes,
                  Build build) {
  auto op = build();
  double written = 0, moved = 0;
  for (const Tensor& tensor : writes)
    if (tensor) {
      written += static_cast<double>(tensor.count());
      moved += static_cast<double>(tensor.bytes());
    }
  for (const Tensor& tensor : reads)
    if (tensor) moved += static_cast<double>(tensor.bytes());
  const double flops = flops_of(op, written);
  if constexpr (requires { op.workspace; }) {
    const std::size_t wanted = kernels::workspace_bytes(device().stream(), op);
    Tensor scratch;
    if (wanted > 0) {
      scratch = allocate({static_cast<std::int64_t>((wanted + 3) / 4)}, DType::i32);
      writes.push_back(scratch);
    }
    executor_.run({std::move(name), std::move(reads), std::move(writes),
                   [build = std::move(build), scratch](const kernels::Stream& stream) {
                     auto call = build();
                     call.workspace = scratch.data();
                     kernels::launch(stream, call);
                   },
                   flops, moved});
  } else {
    executor_.run({std::move(name), std::move(reads), std::move(writes),
                   [build = std::move(build)](const kernels::Stream& stream) {
                     kernels::launch(stream, build());
                   },
                   flops, moved});
  }
}

}  // namespace anaphase::engine
