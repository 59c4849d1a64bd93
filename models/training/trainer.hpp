// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "io/run_folder.hpp"
#include "models/training/data.hpp"

namespace anaphase::models {

/// Where a run is, told after every step.
struct Progress {
  std::string stage;                 // "pretrain", "co-training" or "supervised"
  std::int64_t step = 0, steps = 0;  // done and to do in this stage
  std::int64_t epoch = 0, epochs = 0;
  double steps_per_second = 0;
  double loss = 0;   // sum of the last step's losses
  double dice = -1;  // students' last validation score; -1: none yet
};

struct TrainRequest {
  Config config;
  std::filesystem::path run;
  bool resume = false;  // go on from run's checkpoint (config then comes from the run, but for
                        // longer training)
  engine::Device device;
  std::function<void(const Progress&)> progress;  // may be empty
  const std::atomic<bool>* stop = nullptr;        // set: end after this step, with a checkpoint
};

enum class TrainOutcome : unsigned char { finished, stopped };

/// Trains in all stages and leaves in the run folder: config.toml, manifest.json, metrics.jsonl and
/// .csv, checkpoints, model.safetensors, scores.json and pictures for the report. Killed at any
/// time, a run resumed ends with the same weights, bit for bit, as one that was left alone.
TrainOutcome train(const TrainRequest& request);

}  // namespace anaphase::models
