// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.hpp"

namespace anaphase::engine {

/// How a parameter starts: uniform in [-bound, bound], or a constant (bound 0).
struct Initial {
  double constant = 0;
  double bound = 0;
};
/// U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the usual start of weights and biases of linear maps.
Initial uniform_by_fan_in(std::int64_t fan_in);

/// The named parameters of a network. They are declared while the network is built and get their
/// memory together: all trainable values lie in one block and, where they are trained, all
/// gradients in another, in the order weights (two axes or more: subject to weight decay), then
/// biases and norms; so an optimiser, an average or a copy is one call. Buffers (running
/// statistics) are named state without gradient, in a third block.
class ParameterSet {
 public:
  struct Entry {
    std::string name;
    Tensor tensor;
    Initial initial;
    bool trainable = true;
  };

  /// A handle that has its shape now and its memory after `materialise`. Throws std::logic_error
  /// for a name that is taken.
  Tensor declare(std::string name, Shape shape, Initial initial);
  Tensor declare_buffer(std::string name, Shape shape, double value);

  /// Allocates on `device`, zero: for values that come from elsewhere.
  void materialise(const Device& device);
  /// Allocates and fills with initial values; each parameter's numbers depend on `seed` and its
  /// name only.
  void materialise(const Device& device, std::uint64_t seed);

  /// Allocates the gradients, zero, once: after `materialise`, before the first backward pass. An
  /// Optimizer does it; a network that only answers goes without.
  void materialise_gradients();

  const std::vector<Entry>& entries() const { return entries_; }
  /// The tensor of that name; throws Error where there is none.
  const Tensor& find(std::string_view name) const;

  const Tensor& values() const { return values_; }        // [count]
  const Tensor& gradients() const { return gradients_; }  // [count], or empty
  const Tensor& buffers() const { return buffers_; }      // empty where there are none
  std::int64_t count() const { return values_.count(); }
  std::int64_t decayed_count() const { return decayed_count_; }

  /// Copies values and buffers of a set with the same entries.
  void copy_from(const ParameterSet& other);

 private:
  Tensor add(std::string name, Shape shape, Initial initial, bool trainable);

  std::vector<Entry> entries_;
  Tensor values_, gradients_, buffers_;
  std::int64_t decayed_count_ = 0;
};

}  // namespace anaphase::engine
