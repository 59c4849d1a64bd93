// SPDX-License-Identifier: Apache-2.0
#include "tests/models/small_training.hpp"

#include <cmath>

namespace anaphase::test {

using namespace models;

Optimizers optimizers_for(Model& model) {
  Optimizers optimizers;
  for (const std::string& prefix : model.prefixes())
    optimizers.push_back(std::make_unique<engine::Optimizer>(model.network(prefix).parameters(),
                                                             engine::OptimizerOptions{}));
  return optimizers;
}

namespace {

/// A bright disc on dark ground, its mask, and keys.
void fill(const BatchInput& input, std::uint64_t seed) {
  const auto n = input.image.dim(0), size = input.image.dim(1), channels = input.image.dim(3);
  std::vector<float> pixels;
  std::vector<std::int32_t> labels;
  std::vector<std::uint64_t> keys;
  for (std::int64_t i = 0; i < n; ++i) {
    keys.push_back(seed * 100 + i);
    for (std::int64_t y = 0; y < size; ++y)
      for (std::int64_t x = 0; x < size; ++x) {
        const double dy = static_cast<double>(y) - 6 - static_cast<double>(i),
                     dx = static_cast<double>(x) - 8;
        const bool inside = dy * dy + dx * dx < 20;
        labels.push_back(inside);
        for (std::int64_t c = 0; c < channels; ++c)
          pixels.push_back((inside ? 1.0F : -0.5F) +
                           0.1F * std::sin(static_cast<float>(x * y + c)));
      }
  }
  engine::upload(input.image, pixels);
  engine::upload(input.keys, keys);
  if (input.labels) engine::upload(input.labels, labels);
}

}  // namespace

double metric(const TrainingStep& step, const std::string& name) {
  for (const auto& [known, tensor] : step.metrics)
    if (known == name) return engine::download(tensor).front();
  return std::nan("");
}

void replay(TrainingStep& step, const Optimizers& optimizers, int number, double learning_rate) {
  if (step.labelled.image) fill(step.labelled, 1 + number);
  if (step.unlabelled.image) fill(step.unlabelled, 1000 + number);
  if (step.ramp) engine::upload(step.ramp, std::vector<float>{0.5F});
  for (const auto& optimizer : optimizers) optimizer->prepare(number, learning_rate);
  step.program.replay();
}

}  // namespace anaphase::test
