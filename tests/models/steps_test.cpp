// SPDX-License-Identifier: Apache-2.0
#include "models/training/steps.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "tests/models/small_model.hpp"

namespace anaphase::test {
using namespace models;

namespace {

Optimizers optimizers_for(Model& model) {
  Optimizers optimizers;
  for (auto& [prefix, network] : model.networks())
    optimizers.push_back(
        std::make_unique<engine::Optimizer>(network->parameters(), engine::OptimizerOptions{}));
  return optimizers;
}

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

}  // namespace

TEST_CASE("every stage lowers its losses and allocates nothing on the way") {
  for (const char* architecture : {"unet", "plain"}) {
    CAPTURE(architecture);
    const auto train = [&](const std::string& loss, const std::string& method, auto make,
                           int steps) {
      CAPTURE(loss);
      Config config = small_config(architecture);
      config.training.method = method;
      Model model(engine::Device::cpu(), config, small_facts());
      const Optimizers optimizers = optimizers_for(model);
      TrainingStep step = make(model, optimizers);
      replay(step, optimizers, 0, 5e-3);
      const double first = metric(step, loss);
      const auto before = engine::memory_use();
      double last = 0;
      for (int i = 1; i <= steps; ++i) {
        replay(step, optimizers, i, 5e-3);
        if (i > steps - 4) last += metric(step, loss) / 4;
      }
      CHECK(engine::memory_use().allocations == before.allocations);
      CHECK(engine::memory_use().live_bytes == before.live_bytes);
      CHECK(last < 0.8 * first);
      const engine::MemoryPlan& plan = step.program.plan();
      CHECK(plan.peak_bytes < plan.total_bytes / 2);
    };
    train(
        "loss_cycle", "co-training",
        [](Model& model, const Optimizers& o) { return pretraining_step(model, o, 2); }, 20);
    train(
        "loss_student_labelled", "supervised",
        [](Model& model, const Optimizers& o) { return supervised_step(model, o, 2); }, 20);
    train(
        "loss_student_labelled", "co-training",
        [](Model& model, const Optimizers& o) { return co_training_step(model, o, 2, nullptr); },
        12);
  }
}

TEST_CASE("co-training trains all networks, stage 1 both pathways, the baseline its student") {
  const auto changed = [](const std::string& method, auto make) {
    Config config = small_config();
    config.training.method = method;
    Model model(engine::Device::cpu(), config, small_facts());
    std::map<std::string, std::vector<float>> before;
    for (const auto& [prefix, network] : model.networks())
      before[prefix] = engine::download(network->parameters().values());
    const Optimizers optimizers = optimizers_for(model);
    TrainingStep step = make(model, optimizers);
    replay(step, optimizers, 0, 1e-2);
    std::set<std::string> names;
    for (const auto& [prefix, network] : model.networks())
      if (engine::download(network->parameters().values()) != before[prefix]) names.insert(prefix);
    return names;
  };
  using Names = std::set<std::string>;
  CHECK(changed("co-training", [](Model& m, const Optimizers& o) {
          return pretraining_step(m, o, 2);
        }) == Names{"teacher.mask.", "teacher.image."});
  CHECK(changed("co-training", [](Model& m, const Optimizers& o) {
          return co_training_step(m, o, 2, nullptr);
        }) == Names{"student1.", "student2.", "teacher.mask.", "teacher.image."});
  CHECK(changed("supervised", [](Model& m, const Optimizers& o) {
          return supervised_step(m, o, 2);
        }) == Names{"student1."});
}

TEST_CASE("options change what is trained on") {
  const auto losses = [](const std::function<void(Config&)>& change) {
    Config config = small_config("plain");
    change(config);
    Model model(engine::Device::cpu(), config, small_facts());
    const Optimizers optimizers = optimizers_for(model);
    std::optional<engine::MovingAverage> average;
    if (model.averaged())
      average.emplace(model.averaged()->parameters(), model.mask().parameters(), 0.9);
    TrainingStep step = co_training_step(model, optimizers, 2, average ? &*average : nullptr);
    for (int i = 0; i < 2; ++i) replay(step, optimizers, i, 1e-2);
    std::map<std::string, double> values;
    for (const auto& [name, tensor] : step.metrics) values[name] = engine::download(tensor).front();
    for (const auto& [name, value] : values) CHECK(std::isfinite(value));
    return values;
  };
  const auto base = losses([](Config&) {});
  CHECK(base.contains("loss_twin_unlabelled"));
  CHECK(base.contains("loss_alignment_labelled"));
  CHECK(base.contains("loss_reconstruction_unlabelled"));
  CHECK(losses([](Config&) {}) == base);
  CHECK_FALSE(losses([](Config& c) { c.student.count = 1; }).contains("loss_twin_unlabelled"));
  CHECK_FALSE(losses([](Config& c) { c.rounds.count = 0; }).contains("loss_alignment_unlabelled"));
  CHECK_FALSE(losses([](Config& c) {
                c.rounds.reconstruction = false;
              }).contains("loss_reconstruction_labelled"));
  const std::vector<std::function<void(Config&)>> changes = {
      [](Config& c) { c.rounds.mode = "independent"; },
      [](Config& c) { c.rounds.pseudo_label = "mean"; },
      [](Config& c) { c.rounds.weight = 3; },
      [](Config& c) { c.co_training.unlabelled_weight = 0.1; },
      [](Config& c) { c.co_training.twin_weight = 0; },
      [](Config& c) { c.co_training.confidence = 0.6; },
      [](Config& c) { c.co_training.teacher_average = 0.9; },
      [](Config& c) { c.co_training.loss = "dice_ce"; },
      [](Config& c) { c.diffusion.schedule = "linear"; },
      [](Config& c) { c.diffusion.empty_mask = "minus_one"; },
      [](Config& c) { c.student.denoising = false; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    CAPTURE(i);
    CHECK(losses(changes[i]) != base);
  }
}

TEST_CASE("bf16 follows float32") {
  std::vector<double> last;
  for (const char* precision : {"f32", "bf16"}) {
    Config config = small_config("plain");
    config.training.precision = precision;
    config.training.method = "supervised";
    Model model(engine::Device::cpu(), config, small_facts());
    const Optimizers optimizers = optimizers_for(model);
    TrainingStep step = supervised_step(model, optimizers, 2);
    for (int i = 0; i < 30; ++i) replay(step, optimizers, i, 5e-3);
    last.push_back(metric(step, "loss_student_labelled"));
  }
  CHECK(last[1] == doctest::Approx(last[0]).epsilon(0.25));
}

}  // namespace anaphase::test
