// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/optimizer.hpp"
#include "engine/program.hpp"
#include "models/model.hpp"

namespace anaphase::models {

/// Where a step finds its images: copied in before each replay.
struct BatchInput {
  Tensor image;   // [N, size, size, channels], activation type
  Tensor labels;  // [N, size, size] int32; empty for unlabelled batches
  Tensor keys;    // [N] uint64
};

/// One optimiser step as a program, with what goes in and what comes out.
struct TrainingStep {
  engine::Program program = {};
  BatchInput labelled = {}, unlabelled = {};  // without an image where the step takes none
  Tensor ramp = {};                           // one value: weight of the unlabelled losses
  std::vector<std::pair<std::string, Tensor>> metrics = {};  // one value each, or one a class
};

/// The optimisers of a stage, one for each network that it trains.
using Optimizers = std::vector<std::unique_ptr<engine::Optimizer>>;

/// Stage 1, cycle consistency: unlabelled images alone (in `unlabelled`).
///   L = ||g(x_t', m) - noise'||^2 + balance * KL(mean class use || uniform),  m = softmax(f(noised
///   empty mask, x))
TrainingStep pretraining_step(Model& model, const Optimizers& optimizers, int batch);

/// Stages 2 and 3: co-training with rounds of pseudo-labels (docs/method.md has the losses). The
/// gradients of a round are computed as soon as its losses are, so memory holds one round at a
/// time.
TrainingStep co_training_step(Model& model, const Optimizers& optimizers, int batch,
                              const engine::MovingAverage* teacher_average);

/// The baseline: the student alone, on labelled images.
TrainingStep supervised_step(Model& model, const Optimizers& optimizers, int batch);

}  // namespace anaphase::models
