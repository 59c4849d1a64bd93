// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "apps/bench/bench.hpp"
#include "engine/program.hpp"
#include "models/training/steps.hpp"

namespace anaphase::apps::bench {

inline constexpr double learning_rate = 1e-3;
inline constexpr engine::OptimizerOptions adamw{.weight_decay = 1e-4};

/// One optimiser step as a program, its input in place.
struct Step {
  models::Optimizers optimizers;
  engine::Program program = {};
  // Of `network_step` alone:
  std::string network = {};  // what its names begin with in a model file
  engine::Tensor input = {}, timestep = {}, labels = {}, loss = {};
  int taken = 0;

  /// Goes before every replay.
  void prepare() {
    for (auto& optimizer : optimizers) optimizer->prepare(taken, learning_rate);
    ++taken;
  }
  void operator()() {
    prepare();
    program.replay();
  }
};

/// One for each network whose prefix begins so.
models::Optimizers optimizers_of(models::Model& model, std::string_view prefix);

/// A fresh model for `network_step`: of all networks it has only the one that is trained.
Keys network_keys();

/// The mask pathway, or the student of a supervised model, which is the same network, on fixed
/// input, timesteps and labels: nothing in the step is random, so that it can be repeated
/// elsewhere. Throws Error where that student sees no noise.
Step network_step(models::Model& model, int batch);

}  // namespace anaphase::apps::bench
