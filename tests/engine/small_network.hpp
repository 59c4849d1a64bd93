// SPDX-License-Identifier: Apache-2.0
#pragma once

// A network that uses most operations in a few hundred weights, its data, and its training step.

#include <cstdint>

#include "engine/ops/ops.hpp"
#include "engine/optimizer.hpp"
#include "engine/parameters.hpp"

namespace anaphase::test {

/// What a step reads: images [2, 11, 13, 1], labels, timesteps and random keys.
struct Batch {
  explicit Batch(const engine::Device& device);
  /// Other contents for every `step`.
  void fill(int step) const;

  engine::Tensor image, labels, t, keys;
};

struct SmallNetwork {
  /// Activations are of `type`.
  SmallNetwork(const engine::Device& device, std::uint64_t seed, engine::DType type);

  engine::Tensor logits(engine::Tape& tape, const Batch& batch) const;
  engine::Tensor loss(engine::Tape& tape, const Batch& batch) const;

  engine::ParameterSet parameters;

 private:
  const engine::Tensor& at(const char* name) const { return parameters.find(name); }
  engine::DType type_;
};

/// Zero gradients, forward, backward, AdamW with clipping, moving average.
class Training {
 public:
  Training(const engine::Device& device, engine::DType type, std::uint64_t seed = 1);

  /// Makes the calls of one step; returns the loss.
  engine::Tensor step(engine::Executor& executor) const;
  /// Uploads what step number `step` reads.
  void prepare(int step);

  SmallNetwork network, average;
  Batch batch;
  engine::Optimizer optimizer;

 private:
  engine::MovingAverage moving_;
};

}  // namespace anaphase::test
