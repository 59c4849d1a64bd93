// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "io/dataset.hpp"
#include "models/model.hpp"
#include "models/training/steps.hpp"

namespace anaphase::models {

using Samples = std::vector<const io::LoadedSample*>;

/// The images of a run in memory: resized, normalised with the statistics of all training images.
struct TrainingData {
  DataFacts facts;
  std::vector<io::LoadedSample> train, val;  // the splits; val is empty where there is none

  // Parts of `train`:
  Samples labelled;
  Samples unlabelled;  // the others, or the labelled ones again where no others are left; their
                       // masks, where the data set has them, serve diagnosis alone
  Samples held_out;    // labelled images that pick the checkpoint and are not trained on
};

/// Pointers to all of them.
Samples all_of(const std::vector<io::LoadedSample>& samples);

/// Reads config.data; throws Error where the data set, its masks or the share of labels do not fit.
TrainingData load_training_data(const Config& config);

/// Which images a step takes: passes over all images in an order shuffled anew for each pass, one
/// pass after the other, so that every batch is full. The answer depends on the seed and the step
/// alone, so a resumed run needs no memory of the past.
class BatchSampler {
 public:
  BatchSampler(Samples samples, int batch, std::uint64_t seed);

  std::int64_t steps_per_epoch() const;
  /// Copies the images of a step, augmented, with their labels and keys, into the step's input
  /// tensors.
  void fill(std::int64_t step, const Config& config, const BatchInput& input);

 private:
  const io::LoadedSample& at(std::int64_t position);

  Samples samples_;
  int batch_;
  std::uint64_t seed_;
  std::int64_t shuffled_pass_ = -1;
  std::vector<std::size_t> order_;
};

}  // namespace anaphase::models
