// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/parameters.hpp"
#include "engine/tape.hpp"

namespace anaphase::engine {

/// Learning rate over steps: linear warm-up from 0 over `warmup` steps, then by kind
///   constant  base
///   step      base * factor^floor((step - warmup) / every)
///   cosine    base * (1 + cos(pi * (step - warmup) / (total - warmup))) / 2
struct LearningRate {
  enum class Kind : unsigned char { constant, step, cosine };
  Kind kind = Kind::constant;
  double base = 1e-3;
  std::int64_t warmup = 0;
  std::int64_t total = 1;
  std::int64_t every = 1;
  double factor = 0.5;

  double at(std::int64_t step) const;  // step counts from 0
};

struct OptimizerOptions {
  enum class Kind : unsigned char { adamw, sgd };
  Kind kind = Kind::adamw;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // adamw
  double momentum = 0.9;                              // sgd
  double weight_decay = 0;                            // on weights, not on biases and norms
  double clip_norm = 0;                               // 0: no clipping
};

/// Updates one parameter set. Everything that changes from step to step lies in device memory, so
/// one program serves all steps. A step whose gradient is not finite is left out.
class Optimizer {
 public:
  /// Gives `parameters`, which have their memory, gradients where they have none.
  Optimizer(ParameterSet& parameters, const OptimizerOptions& options);

  /// Launches: gradients = 0. Goes before the first backward pass of a step.
  void zero_gradients(Tape& tape) const;
  /// Launches: gradient norm, clipping, update.
  void update(Tape& tape) const;
  /// Sets what the next update reads; `step` counts from 0.
  void prepare(std::int64_t step, double learning_rate);

  const Tensor& gradient_norm() const { return norm_; }

  struct State {
    std::string name;
    Tensor tensor;
  };
  /// The optimiser's memory, to save and restore.
  std::vector<State> state() const;

 private:
  ParameterSet& parameters_;
  OptimizerOptions options_;
  Tensor hyper_, norm_, scale_;
  Tensor first_, second_;  // moments; sgd keeps its velocity in first_
};

/// An exponential moving average of one network in another of the same architecture.
class MovingAverage {
 public:
  /// `average` starts as a copy of `source`.
  MovingAverage(ParameterSet& average, const ParameterSet& source, double decay);
  /// Launches average = decay * average + (1 - decay) * source, for values and buffers.
  void update(Tape& tape) const;

 private:
  ParameterSet& average_;
  const ParameterSet& source_;
  Tensor decay_;
};

}  // namespace anaphase::engine
