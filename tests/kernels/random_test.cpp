// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/common/philox.hpp"
#include "kernels/random/normal.hpp"
#include "tests/kernels/contract.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

const Target cpu{{DeviceKind::cpu}, DType::f32};

std::vector<double> normals(const Target& target, const std::vector<std::uint64_t>& keys,
                            std::int64_t per_sample, std::uint32_t draw) {
  Arena m(target.stream, target.type, target.type);
  const int n = static_cast<int>(keys.size());
  launch(m.stream(), RandomNormal{.n = n,
                                  .per_sample = per_sample,
                                  .type = m.type(),
                                  .keys = m.keys("keys", keys),
                                  .draw = draw,
                                  .y = m.output("y", n * per_sample)});
  return m.values("y");
}

double mean_power(const std::vector<double>& x, int power) {
  double sum = 0;
  for (const double v : x) sum += std::pow(v, power);
  return sum / static_cast<double>(x.size());
}

}  // namespace

TEST_CASE("normal numbers follow the documented formula") {
  for (const std::int64_t per_sample :
       {1, 2, 3, 4, 5, 8, 63, 65, 127, 1023, 1024, 1025, 4099, 20000})
    for_each_target([&](const Target& target) {
      const auto build = [&](Arena& m) {
        return RandomNormal{.n = 3,
                            .per_sample = per_sample,
                            .type = m.type(),
                            .keys = m.keys("keys", {1, 0xFFFFFFFFFFFFFFFFULL, 1ULL << 33}),
                            .draw = 0xFFFFFFF0U,
                            .y = m.output("y", 3 * per_sample)};
      };
      compare(target, build, {.absolute = 2e-6});  // as kernels/random/normal.hpp promises
      compare_thread_counts(target, build);
    });
}

TEST_CASE("logarithm and circle of the normal numbers hold their errors at the extremes") {
  // every u next to 0 and next to 1, where the logarithm vanishes, and a coarse net between
  double log_error = 0, circle_error = 0;
  const auto check_at = [&](std::uint32_t k) {
    const float u = uniform_from_bits(k << 9);
    const double expected = std::log(static_cast<double>(u));
    log_error = std::max(log_error, std::abs(log_of_uniform(u) - expected) / -expected);
    const SineCosine turn = sine_cosine_of_turn(u);
    const double angle = 2 * std::numbers::pi * u;
    circle_error = std::max({circle_error, std::abs(turn.sine - std::sin(angle)),
                             std::abs(turn.cosine - std::cos(angle))});
  };
  for (std::uint32_t k = 0; k < 4096; ++k) {
    check_at(k);
    check_at((1U << 23) - 1 - k);
    check_at(k * 2039);
  }
  CHECK(log_error <= 3 * 0x1p-23);
  CHECK(circle_error <= 2 * 0x1p-23);
  float z[4];
  normals_of_block({{0, 0, 0xFFFFFFFFU, 0xFFFFFFFFU}}, z);
  CHECK(std::abs(z[0] - std::sqrt(48 * std::numbers::ln2)) <= 2e-6);  // u = 2^-24: the largest
  for (const float v : z) CHECK(std::isfinite(v));
}

TEST_CASE("normal numbers have the moments and the distribution of N(0, 1)") {
  const std::size_t count = 1 << 20;
  const std::vector<double> z = normals(cpu, {7, 8, 9, 10}, count / 4, 3);
  const double root = std::sqrt(static_cast<double>(count));
  // five standard errors of each: 1, sqrt(2), sqrt(15), sqrt(96) over sqrt(count)
  CHECK(std::abs(mean_power(z, 1)) <= 5 / root);
  CHECK(std::abs(mean_power(z, 2) - 1) <= 5 * std::sqrt(2.0) / root);
  CHECK(std::abs(mean_power(z, 3)) <= 5 * std::sqrt(15.0) / root);
  CHECK(std::abs(mean_power(z, 4) - 3) <= 5 * std::sqrt(96.0) / root);
  // Kolmogorov and Smirnov: sqrt(count) * distance exceeds 2 with probability below 7e-4
  std::vector<double> sorted = z;
  std::sort(sorted.begin(), sorted.end());
  double distance = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double expected = 0.5 * std::erfc(-sorted[i] / std::numbers::sqrt2);
    const double below = static_cast<double>(i) / static_cast<double>(count);
    distance = std::max({distance, std::abs(expected - below),
                         std::abs(expected - below - 1.0 / static_cast<double>(count))});
  }
  CHECK(distance * root <= 2);
  // neighbours, partners of a pair and neighbouring samples are uncorrelated
  for (const std::size_t lag : {std::size_t{1}, std::size_t{2}, std::size_t{4}, count / 4}) {
    CAPTURE(lag);
    double sum = 0;
    for (std::size_t i = 0; i + lag < count; ++i) sum += z[i] * z[i + lag];
    CHECK(std::abs(sum) <= 5 * root);
  }
}

TEST_CASE("a sample's numbers depend on its key, the draw and the position alone") {
  for_each_target([](const Target& target) {
    for (const std::int64_t per_sample : {5, 1027, 1032}) {
      const std::vector<double> batch = normals(target, {11, 22, 33}, per_sample, 6);
      for (int s = 0; s < 3; ++s) {
        const std::vector<double> alone = normals(target, {11ULL * (s + 1)}, per_sample, 6);
        CHECK(std::equal(alone.begin(), alone.end(), batch.begin() + s * per_sample));
      }
      const std::vector<double> longer = normals(target, {11}, per_sample + 3000, 6);
      CHECK(std::equal(batch.begin(), batch.begin() + per_sample, longer.begin()));
      CHECK(normals(target, {11}, per_sample, 7) != normals(target, {11}, per_sample, 6));
      CHECK(normals(target, {12}, per_sample, 6) != normals(target, {11}, per_sample, 6));
    }
  });
}

TEST_CASE("samples beyond the rows of a GPU's grid have their numbers too") {
  std::vector<std::uint64_t> keys(1025);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = mix_key(3, i);
  for_each_target([&](const Target& target) {
    compare(target,
            [&](Arena& m) {
              return RandomNormal{.n = static_cast<int>(keys.size()),
                                  .per_sample = 5,
                                  .type = m.type(),
                                  .keys = m.keys("keys", keys),
                                  .y = m.output("y", 5 * static_cast<std::int64_t>(keys.size()))};
            },
            {.absolute = 2e-6});
  });
}

TEST_CASE("random integers cover [low, high) evenly") {
  const int n = 30000;
  std::vector<std::uint64_t> keys(n);
  for (int i = 0; i < n; ++i) keys[i] = mix_key(5, i);
  for_each_target([&](const Target& target) {
    compare(target,
            [&](Arena& m) {
              return RandomInteger{.n = 1000,
                                   .low = -5,
                                   .high = 995,
                                   .keys = m.keys("keys", {keys.begin(), keys.begin() + 1000}),
                                   .draw = 9,
                                   .t = m.label_output("t", 1000)};
            },
            {.relative = 0, .bf16_relative = 0});
  });
  std::vector<std::int32_t> t(n), other(n);
  run(Cpu{}, RandomInteger{n, -1, 2, keys.data(), 4, t.data()});
  run(Cpu{}, RandomInteger{n, -1, 2, keys.data(), 5, other.data()});
  for (const int value : {-1, 0, 1}) {
    const auto hits = static_cast<double>(std::count(t.begin(), t.end(), value));
    CHECK(std::abs(hits - n / 3.0) <= 5 * std::sqrt(n * 2.0 / 9));  // five deviations
  }
  CHECK(t != other);
}

}  // namespace anaphase::test
