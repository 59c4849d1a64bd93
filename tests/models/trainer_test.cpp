// SPDX-License-Identifier: Apache-2.0
#include "models/training/trainer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>

#include "io/atomic_file.hpp"
#include "io/safetensors.hpp"
#include "io/synthetic.hpp"
#include "kernels/common/error.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/small_model.hpp"

namespace anaphase::test {
using namespace models;
using io::testing::TemporaryFolder;

namespace {

/// 12 synthetic images of 16 px: 10 for training, 2 for validation.
Config tiny_run(const TemporaryFolder& folder) {
  const std::filesystem::path data = folder / "data";
  if (!std::filesystem::exists(data))
    io::write_synthetic_dataset(
        data, {.kind = io::SyntheticKind::nuclei, .count = 12, .size = 16, .seed = 3});
  Config config = small_config("plain");
  config.data.path = data.string();
  config.data.size = 16;
  config.data.labels = "4";
  config.pretrain.epochs = 1;
  config.rounds.count = 1;
  config.training.steps = 6;
  config.training.validations = 3;
  return config;
}

TrainOutcome run(const Config& config, const std::filesystem::path& folder, bool resume = false,
                 const std::atomic<bool>* stop = nullptr,
                 std::function<void(const Progress&)> progress = {}) {
  return train({.config = config,
                .run = folder,
                .resume = resume,
                .device = engine::Device::cpu(),
                .progress = std::move(progress),
                .stop = stop});
}

std::vector<unsigned char> weights(const std::filesystem::path& folder) {
  return io::read_file(folder / "model.safetensors");
}

}  // namespace

TEST_CASE("a run leaves everything that is needed to use and to explain it") {
  const TemporaryFolder folder;
  const Config config = tiny_run(folder);
  CHECK(run(config, folder / "run") == TrainOutcome::finished);
  for (const char* file :
       {"config.toml", "manifest.json", "metrics.jsonl", "metrics.csv", "model.safetensors",
        "checkpoint.safetensors", "scores.json", "samples/index.json"}) {
    CAPTURE(file);
    CHECK(std::filesystem::file_size(folder / "run" / file) > 0);
  }
  Config saved;
  saved.read(folder / "run" / "config.toml");
  CHECK(saved.to_toml() == config.to_toml());
  CHECK_THROWS_AS(run(config, folder / "run"), Error);  // the folder holds a run
}

TEST_CASE("the same seed gives the same weights, another seed others") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  run(config, folder / "a");
  run(config, folder / "b");
  CHECK(weights(folder / "a") == weights(folder / "b"));
  config.training.seed = 1;
  run(config, folder / "c");
  CHECK(weights(folder / "a") != weights(folder / "c"));
}

TEST_CASE("a run that was stopped in any stage goes on bit for bit") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.co_training.teacher_average = 0.9;
  run(config, folder / "whole");
  for (const char* stage : {"pretrain", "co-training"}) {
    CAPTURE(stage);
    const std::filesystem::path part = folder / stage;
    std::atomic<bool> stop = false;
    const TrainOutcome outcome = run(config, part, false, &stop, [&](const Progress& progress) {
      if (progress.stage == stage && progress.step == 3) stop = true;
    });
    CHECK(outcome == TrainOutcome::stopped);
    const io::SafeTensors checkpoint = io::read_safetensors(part / "checkpoint.safetensors");
    CHECK(checkpoint.metadata.at("step") == "3");  // in the middle of an epoch
    CHECK(run(config, part, true) == TrainOutcome::finished);
    CHECK(weights(part) == weights(folder / "whole"));
  }
}

TEST_CASE("supervised runs see the labelled images of co-training runs of the same seed") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  const TrainingData co_training = load_training_data(config);
  config.training.method = "supervised";
  const TrainingData supervised = load_training_data(config);
  REQUIRE(co_training.labelled.size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(co_training.labelled[i]->name == supervised.labelled[i]->name);
  CHECK(co_training.unlabelled.size() == 6);
  CHECK(co_training.val.size() == 2);
}

TEST_CASE("held-out images are not trained on and pick the checkpoint") {
  const TemporaryFolder folder;
  Config config = tiny_run(folder);
  config.data.held_out = 0.5;
  config.training.method = "supervised";
  const TrainingData data = load_training_data(config);
  CHECK(data.labelled.size() == 2);
  CHECK(data.held_out.size() == 2);
  run(config, folder / "run");
  const std::vector<unsigned char> bytes = io::read_file(folder / "run" / "metrics.jsonl");
  CHECK(std::string(bytes.begin(), bytes.end()).find("held_out_dice") != std::string::npos);
}

TEST_CASE("batches pass over all images, in another order each time") {
  std::vector<io::LoadedSample> samples(5);
  for (int i = 0; i < 5; ++i) {
    samples[i].image = {8, 8, 1, std::vector<float>(64, static_cast<float>(i))};
    samples[i].mask = {8, 8, std::vector<std::int32_t>(64, i % 2)};
  }
  Config config;
  BatchSampler sampler(all_of(samples), 2, 7);
  CHECK(sampler.steps_per_epoch() == 3);
  const BatchInput input{
      engine::make_tensor(engine::Device::cpu(), {2, 8, 8, 1}, engine::DType::f32),
      engine::make_tensor(engine::Device::cpu(), {2, 8, 8}, engine::DType::i32),
      engine::make_tensor(engine::Device::cpu(), {2}, engine::DType::u64)};
  std::vector<float> order;
  for (int step = 0; step < 10; ++step) {
    sampler.fill(step, config, input);
    const std::vector<float> pixels = engine::download(input.image);
    const std::vector<std::int32_t> labels = engine::download_labels(input.labels);
    for (int i = 0; i < 2; ++i) {
      order.push_back(pixels[i * 64]);
      CHECK(labels[i * 64] == static_cast<int>(pixels[i * 64]) % 2);
    }
  }
  std::vector<std::vector<float>> passes;
  for (int pass = 0; pass < 4; ++pass) {
    passes.emplace_back(order.begin() + pass * 5, order.begin() + pass * 5 + 5);
    std::vector<float> sorted = passes.back();
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted == std::vector<float>{0, 1, 2, 3, 4});
  }
  CHECK((passes[0] != passes[1] || passes[1] != passes[2]));
  BatchSampler late(all_of(samples), 2, 7);  // a resumed run starts in the middle
  late.fill(9, config, input);
  CHECK(engine::download(input.image)[0] == order[18]);
}

}  // namespace anaphase::test
