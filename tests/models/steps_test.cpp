// SPDX-License-Identifier: Apache-2.0
#include "models/training/steps.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "tests/engine/devices.hpp"
#include "tests/models/small_training.hpp"

namespace anaphase::test {
using namespace models;

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
    for (const std::string& prefix : model.prefixes())
      before[prefix] = engine::download(model.network(prefix).parameters().values());
    const Optimizers optimizers = optimizers_for(model);
    TrainingStep step = make(model, optimizers);
    replay(step, optimizers, 0, 1e-2);
    std::set<std::string> names;
    for (const auto& [prefix, values] : before)
      if (engine::download(model.network(prefix).parameters().values()) != values)
        names.insert(prefix);
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
    if (model.has_average())
      average.emplace(model.average().parameters(), model.mask().parameters(), 0.9);
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
  const auto types = activation_types(engine::Device::cpu());
  if (types.back() != DType::bf16) return;
  std::vector<double> last;
  for (const DType type : types) {
    Config config = small_config("plain");
    config.training.precision = kernels::name_of(type);
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
