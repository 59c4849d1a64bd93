// SPDX-License-Identifier: Apache-2.0
#include "models/predictor.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/common/error.hpp"
#include "tests/models/small_model.hpp"

namespace anaphase::test {
using namespace models;

namespace {

std::vector<float> image(int number, int size, int channels) {
  std::vector<float> pixels(static_cast<std::size_t>(size) * size * channels);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = std::sin(static_cast<float>(i) * 0.1F * static_cast<float>(number + 1));
  return pixels;
}

std::vector<float> batch_of(const std::vector<std::vector<float>>& images) {
  std::vector<float> pixels;
  for (const auto& one : images) pixels.insert(pixels.end(), one.begin(), one.end());
  return pixels;
}

}  // namespace

TEST_CASE("an image's mask does not depend on its batch") {
  Model model(engine::Device::cpu(), small_config(), small_facts());
  const std::vector<std::vector<float>> images{image(0, 16, 3), image(1, 16, 3), image(2, 16, 3)};
  for (const InferenceOptions& options :
       {InferenceOptions{}, InferenceOptions{.with = "teacher", .steps = 4},
        InferenceOptions{.with = "students", .steps = 3, .draws = 2, .seed = 5},
        InferenceOptions{.with = "teacher", .steps = 3, .sampler = "ddpm"},
        InferenceOptions{.with = "teacher", .steps = 5, .sampler = "dpm"}}) {
    CAPTURE(options.steps);
    Predictor one(model, options, 1, 16, 16), three(model, options, 3, 16, 16);
    const std::vector<float> together = three.probabilities(batch_of(images));
    const std::size_t per_image = together.size() / 3;
    for (std::size_t i = 0; i < 3; ++i) {
      const std::vector<float> alone = one.probabilities(images[i]);
      REQUIRE(alone.size() == per_image);
      for (std::size_t j = 0; j < per_image; ++j) REQUIRE(alone[j] == together[i * per_image + j]);
    }
    const std::vector<float> part = three.probabilities(images[1]);  // a batch that is not full
    for (std::size_t j = 0; j < per_image; ++j) REQUIRE(part[j] == together[per_image + j]);
  }
}

TEST_CASE("images that the caches do not hold together go through the network in parts") {
  Config config = small_config("plain");
  config.network.width = 16;
  Model model(engine::Device::cpu(), config, small_facts());
  constexpr int size = 96, batch = 6;
  std::vector<std::vector<float>> images;
  for (int i = 0; i < batch; ++i) images.push_back(image(i, size, 3));
  for (const InferenceOptions& options : {InferenceOptions{.with = "teacher", .steps = 2},
                                          InferenceOptions{.with = "students", .draws = 2}}) {
    Predictor one(model, options, 1, size, size), all(model, options, batch, size, size);
    CHECK(all.images_at_once() == 3);
    CHECK(Predictor(model, options, 7, size, size).images_at_once() == 1);
    const std::vector<float> pixels = batch_of(images);
    const std::vector<float> together = all.probabilities(pixels);
    std::vector<float> alone;
    for (const auto& pixels_of_one : images) {
      const std::vector<float> mask = one.probabilities(pixels_of_one);
      alone.insert(alone.end(), mask.begin(), mask.end());
    }
    CHECK(together == alone);
    const std::vector<std::vector<float>> networks = all.by_network(pixels);
    CHECK(networks.size() == (options.with == "teacher" ? 1 : 2));
    for (std::size_t k = 0; k < networks.size(); ++k) {
      const std::vector<float> of_first = one.by_network(images[0])[k];
      CHECK(std::equal(of_first.begin(), of_first.end(), networks[k].begin()));
    }
  }
}

TEST_CASE("probabilities sum to one and follow the options") {
  Model model(engine::Device::cpu(), small_config("plain"), small_facts(1, 4));
  const std::vector<float> pixels = image(3, 16, 1);
  const auto predict = [&](const InferenceOptions& options) {
    return Predictor(model, options, 1, 16, 16).probabilities(pixels);
  };
  const std::vector<float> base = predict({});
  for (std::size_t i = 0; i < base.size(); i += 4) {
    const float sum = base[i] + base[i + 1] + base[i + 2] + base[i + 3];
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
  }
  CHECK(predict({}) == base);
  CHECK(predict({.with = "teacher"}) != base);
  CHECK(predict({.steps = 5}) != base);
  const std::vector<float> ddim = predict({.steps = 4});
  CHECK(predict({.steps = 4, .sampler = "ddpm"}) != ddim);
  CHECK(predict({.steps = 4, .sampler = "dpm"}) != ddim);
  CHECK(predict({.steps = 2, .sampler = "dpm"}) == predict({.steps = 2}));  // both steps are ddim's
  CHECK(predict({.draws = 2}) != base);
  CHECK(predict({.timestep = 10}) != base);
  CHECK(predict({.seed = 1}) != base);
}

TEST_CASE("what a model cannot do is refused") {
  Config config = small_config();
  config.training.method = "supervised";
  config.student.denoising = false;
  Model model(engine::Device::cpu(), config, small_facts());
  CHECK_THROWS_AS(Predictor(model, {.with = "teacher"}, 1, 16, 16), Error);
  CHECK_THROWS_AS(Predictor(model, {.steps = 2}, 1, 16, 16), Error);
  CHECK_THROWS_AS(Predictor(model, {.timestep = 1000}, 1, 16, 16), Error);
  CHECK_THROWS_AS(PseudoLabeller(model, 1, 16, 16), Error);
  CHECK(Predictor(model, {}, 1, 16, 16).probabilities(image(0, 16, 3)).size() == 16 * 16 * 2);
}

TEST_CASE("rounds: sequential masks differ from independent ones, after the first") {
  std::vector<std::vector<std::vector<float>>> results;
  for (const char* mode : {"sequential", "independent"}) {
    Config config = small_config();
    config.rounds.mode = mode;
    Model model(engine::Device::cpu(), config, small_facts());
    PseudoLabeller labeller(model, 1, 16, 16);
    CHECK(labeller.rounds() == 2);
    results.push_back(labeller.probabilities(image(1, 16, 3)));
  }
  CHECK(results[0][0] == results[1][0]);
  CHECK(results[0][1] == results[1][1]);
  CHECK(results[0][2] != results[1][2]);
  CHECK(results[0][1] != results[0][0]);
}

TEST_CASE("the largest class wins, the lowest of equals") {
  CHECK(largest_class({0.2F, 0.8F, 0.5F, 0.5F}, 2) == std::vector<std::int32_t>{1, 0});
}

}  // namespace anaphase::test
