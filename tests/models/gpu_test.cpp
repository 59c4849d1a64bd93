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

#if defined(ANAPHASE_SIMT_CHECK)  // of every access to memory, which takes ten times as long
constexpr int training_steps = 1, sampling_steps = 2;
#else
constexpr int training_steps = 5, sampling_steps = 20;
#endif

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

struct Loss {
  std::string name;
  double value;
};

/// All losses of the steps, in their order.
std::vector<Loss> losses(const engine::Device& device, const Stage& stage, Config config) {
  config.training.method = stage.method;
  Model model(device, config, small_facts());
  const Optimizers optimizers = optimizers_for(model);
  TrainingStep step = stage.make(model, optimizers);
  std::vector<Loss> values;
  for (int number = 0; number < training_steps; ++number) {
    replay(step, optimizers, number, 1e-3);
    for (const auto& [name, tensor] : step.metrics)
      if (name.starts_with("loss")) values.push_back({name, engine::download_scalar(tensor)});
  }
  return values;
}

/// How far a loss may be from its value on another device: 1e-4 of it. The balance of classes is a
/// sum of terms of about 0.1 that cancel: below 0.01 what is left is compared to that. A
/// pseudo-label is the class of the largest probability, and where two are equal to rounding it may
/// be the other one: a pixel of the two images of 16 x 16 then counts for another class.
double allowed(const Loss& expected) {
  const bool has_pseudo_labels = expected.name.ends_with("_unlabelled") &&
                                 expected.name.find("reconstruction") == std::string::npos;
  return 1e-4 * std::max(std::abs(expected.value), 0.01) +
         (has_pseudo_labels ? 1.0 / (2 * 16 * 16) : 0.0);
}

}  // namespace

// Devices add in different orders, which changes a float sum's last bits; a few steps of training
// leave most of the other digits as they are.
TEST_CASE("steps of every stage lose the same on every device") {
  for (const char* architecture : {"unet", "plain"})
    for (const Stage& stage : stages()) {
      const Config config = small_config(architecture);
      const std::vector<Loss> expected = losses(engine::Device::cpu(), stage, config);
      REQUIRE(expected.size() >= training_steps);
      for (const engine::Device& gpu : gpus()) {
        const std::vector<Loss> actual = losses(gpu, stage, config);
        REQUIRE(actual.size() == expected.size());
        for (std::size_t i = 0; i < expected.size(); ++i)
          CHECK_MESSAGE(std::abs(actual[i].value - expected[i].value) <= allowed(expected[i]),
                        std::string(architecture)
                            << ", " << std::string(stage.name) << " on " << gpu.name() << ": "
                            << expected[i].name << " is " << actual[i].value << ", expected "
                            << expected[i].value);
      }
    }
}

TEST_CASE("steps of DDIM make the same mask on every device") {
  for (const char* architecture : {"unet", "plain"})
    for (const char* with : {"teacher", "students"}) {
      const auto mask = [&](const engine::Device& device) {
        Model model(device, small_config(architecture), small_facts());
        Predictor predictor(model, {.with = with, .steps = sampling_steps}, 2, 16, 16);
        std::vector<float> images(2 * 16 * 16 * 3);
        for (std::size_t i = 0; i < images.size(); ++i)
          images[i] = std::sin(0.1F * static_cast<float>(i));
        return predictor.probabilities(images);
      };
      const std::vector<float> expected = mask(engine::Device::cpu());
      for (const engine::Device& gpu : gpus()) {
        const std::vector<float> actual = mask(gpu);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < expected.size(); ++i)
          if (!(std::abs(actual[i] - expected[i]) <= 1e-4F)) ++wrong;  // NaN is
        CHECK_MESSAGE(wrong == 0, std::string(architecture)
                                      << ", " << std::string(with) << " on " << gpu.name() << ": "
                                      << wrong << " probabilities differ");
      }
    }
}

}  // namespace anaphase::test
