// SPDX-License-Identifier: Apache-2.0
#include "kernels/dropout/dropout.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "kernels/common/philox.hpp"
#include "tests/kernels/contract.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

const Target cpu{{DeviceKind::cpu}, DType::f32};

std::vector<double> dropout_of(const Target& target, const std::vector<double>& x,
                               const std::vector<std::uint64_t>& keys, float rate,
                               std::uint32_t draw) {
  Arena m(target.stream, target.type, target.type);
  const auto count = static_cast<std::int64_t>(x.size());
  const int n = static_cast<int>(keys.size());
  launch(m.stream(), Dropout{.n = n,
                             .per_sample = count / n,
                             .type = m.type(),
                             .rate = rate,
                             .keys = m.keys("keys", keys),
                             .draw = draw,
                             .x = m.input("x", x),
                             .y = m.output("y", count)});
  return m.values("y");
}

std::vector<double> dropout_of_ones(const Target& target, const std::vector<std::uint64_t>& keys,
                                    std::int64_t per_sample, float rate, std::uint32_t draw) {
  const auto n = static_cast<std::int64_t>(keys.size());
  return dropout_of(target, std::vector<double>(n * per_sample, 1), keys, rate, draw);
}

}  // namespace

TEST_CASE("dropout") {
  for (const std::int64_t per_sample : {1, 3, 7, 17, 127, 1024, 1025, 9001})
    for (const float rate : {0.0F, 0.1F, 0.5F, 0.99F})
      for_each_target([&](const Target& target) {
        const Tolerance two{.relative = 4 * 0x1p-24};  // of 1 / (1 - rate), and of the product
        const auto build = [&](Arena& m) {
          return Dropout{.n = 2,
                         .per_sample = per_sample,
                         .type = m.type(),
                         .rate = rate,
                         .keys = m.keys("keys", {123, 1ULL << 63}),
                         .draw = 5,
                         .x = m.input("x", 2 * per_sample),
                         .y = m.output("y", 2 * per_sample)};
        };
        compare(target, build, two);
        compare_thread_counts(target, build);
        compare(
            target,
            [&](Arena& m) {
              void* y = m.in_out("y", 2 * per_sample);
              return Dropout{.n = 2,
                             .per_sample = per_sample,
                             .type = m.type(),
                             .rate = rate,
                             .keys = m.keys("keys", {123, 1ULL << 63}),
                             .draw = 5,
                             .x = y,
                             .y = y};
            },
            two);
      });
}

TEST_CASE("dropout keeps what the documented numbers say, at the documented scale") {
  for_each_target([](const Target& target) {
    if (target.type != DType::f32) return;
    for (const int count : {1024, 1026}) {
      const std::vector<double> y = dropout_of_ones(target, {42}, count, 0.25F, 3);
      for (int i = 0; i < count; ++i) {
        const float u = uniform_from_bits(philox(42, i / 4, 3).lane[i % 4]);
        CHECK(y[i] == (u >= 0.25F ? 1 / 0.75F : 0.0F));
      }
    }
  });
}

TEST_CASE("dropout keeps the mean") {
  const int count = 1 << 18;
  for (const float rate : {0.1F, 0.5F, 0.9F}) {
    const std::vector<double> y = dropout_of_ones(cpu, {1, 2}, count / 2, rate, 0);
    const auto dropped = static_cast<double>(std::count(y.begin(), y.end(), 0.0));
    CHECK(std::abs(dropped - rate * count) <= 5 * std::sqrt(count * rate * (1 - rate)));
  }
}

TEST_CASE("a dropped NaN is gone") {
  for_each_target([](const Target& target) {
    const std::vector<double> x(64, std::nan(""));
    const std::vector<double> y = dropout_of(target, x, {1}, 0.5F, 0);
    const std::vector<double> ones = dropout_of_ones(target, {1}, 64, 0.5F, 0);
    for (int i = 0; i < 64; ++i) CHECK(std::isnan(y[i]) == (ones[i] != 0));
  });
}

TEST_CASE("a sample's dropout depends on its key and draw alone") {
  for_each_target([](const Target& target) {
    for (const int count : {1030, 1032}) {
      const auto of_ones = [&](const std::vector<std::uint64_t>& keys, std::uint32_t draw) {
        return dropout_of_ones(target, keys, count, 0.5F, draw);
      };
      const std::vector<double> batch = of_ones({4, 5}, 1), alone = of_ones({5}, 1);
      CHECK(std::equal(alone.begin(), alone.end(), batch.begin() + count));
      CHECK(of_ones({5}, 2) != alone);
      CHECK(of_ones({6}, 1) != alone);
    }
  });
}

}  // namespace anaphase::test
