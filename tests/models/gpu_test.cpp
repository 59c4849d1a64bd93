// SPDX-License-Identifier: Apache-2.0
// The method on GPUs beside the method on the processor: the same losses, the same masks.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "models/predictor.hpp"
#include "tests/engine/devices.hpp"
#include "tests/models/small_training.hpp"

namespace anaphase::test {
using namespace models;

namespace {

using MakeStep = std::function<TrainingStep(Model&, const Optimizers&)>;

struct Stage {
  const char* name;
  const char* method;
  MakeStep make;
};

const std::vector<Stage>& stages() {
  static const std::vector<Stage> all = {
      {"pretraining", "co-training",
       [](Model& m, const Optimizers& o) { return pretraining_step(m, o, 2); }},
      {"co-training", "co-training",
       [](Model& m, const Optimizers& o) { return co_training_step(m, o, 2, nullptr); }},
      {"supervised", "supervised",
       [](Model& m, const Optimizers& o) { return supervised_step(m, o, 2); }}};
  return all;
}

/// All losses of five steps, in their order.
std::vector<double> losses(const engine::Device& device, const Stage& stage, Config config) {
  config.training.method = stage.method;
  Model model(device, config, small_facts());
  const Optimizers optimizers = optimizers_for(model);
  TrainingStep step = stage.make(model, optimizers);
  std::vector<double> values;
  for (int number = 0; number < 5; ++number) {
    replay(step, optimizers, number, 1e-3);
    for (const auto& [name, tensor] : step.metrics)
      if (name.starts_with("loss")) values.push_back(engine::download_scalar(tensor));
  }
  return values;
}

/// The largest relative difference. The balance of classes is a sum of terms of about 0.1 that
/// cancel: below 0.01 what is left is compared to that.
double difference(const std::vector<double>& actual, const std::vector<double>& expected) {
  REQUIRE(actual.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    REQUIRE(std::isfinite(actual[i]));
    worst =
        std::max(worst, std::abs(actual[i] - expected[i]) / std::max(std::abs(expected[i]), 0.01));
  }
  return worst;
}

}  // namespace

// Devices add in different orders, which changes a float sum's last bits; five steps of training
// leave most of the other digits as they are.
TEST_CASE("five steps of every stage lose the same on every device") {
  for (const char* architecture : {"unet", "plain"})
    for (const Stage& stage : stages()) {
      const Config config = small_config(architecture);
      const std::vector<double> expected = losses(engine::Device::cpu(), stage, config);
      REQUIRE(expected.size() >= 5);
      for (const engine::Device& gpu : gpus()) {
        const double worst = difference(losses(gpu, stage, config), expected);
        CHECK_MESSAGE(worst <= 1e-4, std::string(architecture)
                                         << ", " << std::string(stage.name) << " on " << gpu.name()
                                         << ": " << worst);
      }
    }
}

TEST_CASE("twenty steps of DDIM make the same mask on every device") {
  for (const char* architecture : {"unet", "plain"})
    for (const char* with : {"teacher", "students"}) {
      const auto mask = [&](const engine::Device& device) {
        Model model(device, small_config(architecture), small_facts());
        Predictor predictor(model, {.with = with, .steps = 20}, 2, 16, 16);
        std::vector<float> images(2 * 16 * 16 * 3);
        for (std::size_t i = 0; i < images.size(); ++i)
          images[i] = std::sin(0.1F * static_cast<float>(i));
        return predictor.probabilities(images);
      };
      const std::vector<float> expected = mask(engine::Device::cpu());
      for (const engine::Device& gpu : gpus()) {
        const std::vector<float> actual = mask(gpu);
        float worst = 0;
        for (std::size_t i = 0; i < expected.size(); ++i)
          worst = std::max(worst, std::abs(actual[i] - expected[i]));
        CHECK_MESSAGE(worst <= 1e-4F, std::string(architecture)
                                          << ", " << std::string(with) << " on " << gpu.name()
                                          << ": " << worst);
      }
    }
}

}  // namespace anaphase::test
