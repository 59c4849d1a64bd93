// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor.hpp"

namespace anaphase::engine {

/// One kernel call: what it touches, and how to make it. The body asks its tensors for their
/// addresses when it runs, so it can be recorded before they have any.
struct Call {
  std::string name;
  std::vector<Tensor> reads, writes;  // every tensor used, in-place ones in both
  std::function<void(const kernels::Stream&)> body;
  double flops = 0;  // multiplications and additions
  double bytes = 0;  // of the tensors read and of those written, scratch memory left out
};

/// Who runs calls: at once (Eager), or later and again (Trace, in engine/program.hpp).
class Executor {
 public:
  explicit Executor(Device device) : device_(std::move(device)) {}
  virtual ~Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  const Device& device() const { return device_; }
  /// A tensor for results of calls; its contents are undefined until a call writes them.
  virtual Tensor allocate(Shape shape, DType type) = 0;
  virtual void run(Call call) = 0;

  /// Whether parameters stay as they are between runs, so that what is derived from them alone (a
  /// copy in another type or layout) is better made once, by `prepare`.
  virtual bool parameters_are_fixed() const { return false; }
  /// Runs the call before the others, and again only when parameters have changed. It reads
  /// parameters and tensors that earlier such calls wrote, and writes tensors of make_tensor.
  virtual void prepare(Call call) { run(std::move(call)); }

 private:
  Device device_;
};

/// Runs each call when it is made, on memory allocated for it.
class Eager final : public Executor {
 public:
  using Executor::Executor;
  Tensor allocate(Shape shape, DType type) override;
  void run(Call call) override;
};

}  // namespace anaphase::engine
