// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <omp.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "models/predictor.hpp"
#include "tests/engine/counted_new.hpp"
#include "tests/engine/devices.hpp"
#include "tests/models/small_model.hpp"

// What programs that sample for days rely on: bits that follow from image and seed alone, and
// memory that stays as it is.

namespace anaphase::test {
using namespace models;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // take twenty times as long
constexpr int most_steps = 100, long_runs = 1;
#else
constexpr int most_steps = 1000, long_runs = 10;
#endif

/// `count` images of 32 px, the first of which is the same for any count.
std::vector<float> images(int count) {
  std::vector<float> pixels(static_cast<std::size_t>(count) * 32 * 32 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = std::sin(static_cast<float>(i) * 0.37F);
  return pixels;
}

std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace

TEST_CASE("an image's bits depend on neither its batch nor the number of threads") {
  const int threads = omp_get_max_threads();
  for (const char* architecture : {"unet", "plain"})
    for (const DType type : activation_types(engine::Device::cpu())) {
      const std::string precision(kernels::name_of(type));
      CAPTURE(architecture);
      CAPTURE(precision);
      Config config = small_config(architecture);
      config.network.width = 16;
      config.data.size = 32;
      config.training.precision = precision;
      Model model(engine::Device::cpu(), config, small_facts());
      for (const InferenceOptions& options :
           {InferenceOptions{.with = "teacher", .steps = 3, .seed = 7},
            InferenceOptions{.with = "students", .draws = 2}}) {
        std::vector<float> expected;
        for (const int count : {1, 3, 16})
          for (const int used : {1, 2}) {
            omp_set_num_threads(used);
            Predictor predictor(model, options, count, 32, 32);
            std::vector<float> mask = predictor.probabilities(images(count));
            mask.resize(mask.size() / count);
            if (expected.empty()) expected = mask;
            const bool same = mask == expected;
            CHECK_MESSAGE(same, options.with << ", batch " << count << ", threads " << used);
          }
      }
      omp_set_num_threads(threads);
    }
}

TEST_CASE("every sampler ends in probabilities, with every schedule and number of steps") {
  for (const char* schedule : {"sigmoid", "linear", "cosine"}) {
    Config config = small_config();
    config.diffusion.schedule = schedule;
    config.diffusion.steps = 1000;
    Model model(engine::Device::cpu(), config, small_facts());
    const auto check_mask = [&](const char* sampler, int steps) {
      Predictor predictor(model, {.with = "teacher", .steps = steps, .sampler = sampler}, 1, 16,
                          16);
      const std::vector<float> mask =
          predictor.probabilities(std::vector<float>(std::size_t{16} * 16 * 3, 0.5F));
      CHECK(predictor.network_calls() == steps);
      CHECK(predictor.step().replays() == steps);  // each is one call of the network
      bool all_probable = true;
      for (const float p : mask) all_probable &= p >= 0 && p <= 1;  // false for NaN
      CHECK_MESSAGE(all_probable, schedule << ", " << sampler << ", " << steps << " steps");
    };
    for (const char* sampler : {"ddim", "dpm"})
      for (const int steps : {1, 2, 3, 10, 37, 100}) check_mask(sampler, steps);
    check_mask("ddpm", most_steps);
  }
}

TEST_CASE("10,000 steps of sampling allocate nothing") {
  REQUIRE(all_news_in([] { ::operator delete(::operator new(8)); }) == 1);  // they would be seen
  Config config = small_config();
  config.diffusion.steps = 1000;
  Model model(engine::Device::cpu(), config, small_facts());
  Predictor predictor(model, {.with = "teacher", .steps = 1000, .sampler = "ddpm"}, 1, 16, 16);
  predictor.run();
  const std::int64_t before = resident_bytes();
  const int made = all_news_in([&] {
    for (int i = 0; i < long_runs; ++i) predictor.run();
  });
  CHECK(made == 0);
  CHECK(resident_bytes() - before < 1 << 20);
}

}  // namespace anaphase::test
