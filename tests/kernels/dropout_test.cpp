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

std::vector<float> dropout_of_ones(std::vector<std::uint64_t> keys, std::int64_t per_sample,
                                   float rate, std::uint32_t draw) {
  std::vector<float> x(keys.size() * static_cast<std::size_t>(per_sample), 1), y(x.size());
  run(Cpu{}, Dropout{.n = static_cast<int>(keys.size()),
                     .per_sample = per_sample,
                     .rate = rate,
                     .keys = keys.data(),
                     .draw = draw,
                     .x = x.data(),
                     .y = y.data()});
  return y;
}

}  // namespace

TEST_CASE("dropout") {
  for (const std::int64_t per_sample : {1, 3, 7, 17, 127, 1025, 9001})
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
  const std::vector<float> y = dropout_of_ones({42}, 1026, 0.25F, 3);
  for (int i = 0; i < 1026; ++i) {
    const float u = uniform_from_bits(philox(42, i / 4, 3).lane[i % 4]);
    CHECK(y[i] == (u >= 0.25F ? 1 / 0.75F : 0.0F));
  }
}

TEST_CASE("dropout keeps the mean, and a dropped NaN is gone") {
  const int count = 1 << 18;
  for (const float rate : {0.1F, 0.5F, 0.9F}) {
    const std::vector<float> y = dropout_of_ones({1, 2}, count / 2, rate, 0);
    const auto dropped = static_cast<double>(std::count(y.begin(), y.end(), 0.0F));
    CHECK(std::abs(dropped - rate * count) <= 5 * std::sqrt(count * rate * (1 - rate)));
  }
  const std::vector<float> x(64, std::nanf(""));
  std::vector<float> y(64);
  const std::uint64_t key = 1;
  run(Cpu{},
      Dropout{.n = 1, .per_sample = 64, .rate = 0.5F, .keys = &key, .x = x.data(), .y = y.data()});
  const std::vector<float> ones = dropout_of_ones({1}, 64, 0.5F, 0);
  for (int i = 0; i < 64; ++i) CHECK(std::isnan(y[i]) == (ones[i] != 0));
}

TEST_CASE("a sample's dropout depends on its key and draw alone") {
  const std::vector<float> batch = dropout_of_ones({4, 5}, 1030, 0.5F, 1);
  const std::vector<float> alone = dropout_of_ones({5}, 1030, 0.5F, 1);
  CHECK(std::equal(alone.begin(), alone.end(), batch.begin() + 1030));
  CHECK(dropout_of_ones({5}, 1030, 0.5F, 2) != alone);
  CHECK(dropout_of_ones({6}, 1030, 0.5F, 1) != alone);
}

}  // namespace anaphase::test
