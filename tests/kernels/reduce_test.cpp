// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/reduce.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/contract.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

double sum_of(const Target& target, const std::vector<double>& x, double scale) {
  Arena m(target.stream, target.type, target.type);
  run_in(m, [&](Arena& arena) {
    return Sum{.count = static_cast<std::int64_t>(x.size()),
               .type = arena.type(),
               .scale = scale,
               .x = arena.input("x", x),
               .y = arena.param_output("y", 1)};
  });
  return m.values("y")[0];
}

}  // namespace

TEST_CASE("sum") {
  for (const std::int64_t count : {1, 3, 7, 17, 33, 127, 8191, 8192, 8193, 100001})
    for (const double offset : {0.0, 1e6})
      for_each_target([&](const Target& target) {
        const auto build = [&](Arena& m) {
          return Sum{.count = count,
                     .type = m.type(),
                     .scale = -0.7,
                     .x = m.input("x", count, offset - 1, offset + 1),
                     .y = m.param_output("y", 1)};
        };
        // The CPU sums in double, rounded to float once; double itself loses 1e5 roundings of
        // 2^-53. On a GPU a thread takes 8 elements at most here and loses (8 * 2^-24)^2, less.
        compare(target, build,
                {.relative = 0x1p-24,
                 .absolute = 1e5 * 0x1p-53 * static_cast<double>(count) * (offset + 1),
                 .bf16_relative = 0});
        compare_thread_counts(target, build);
      });
}

TEST_CASE("a sum over more vectors than a GPU's grid has threads") {
  const std::int64_t count = 8 * 1024 * 256 + 12345;
  for_each_target([&](const Target& target) {
    compare(target,
            [&](Arena& m) {
              return Sum{.count = count,
                         .type = m.type(),
                         .x = m.input("x", count, 0, 1),
                         .y = m.param_output("y", 1)};
            },
            {.relative = 0x1p-24, .bf16_relative = 0});
  });
}

TEST_CASE("sum by hand") {
  for_each_target([](const Target& target) {
    CHECK(sum_of(target, {1, 2, 3.5}, 1) == 6.5);
    CHECK(sum_of(target, {1, 2, 3.5}, 2) == 13);
    // exact in double, lost in float; one thread of a GPU adds the first four
    CHECK(sum_of(target, {0x1p30, 1, -0x1p30}, 1) == 1);
    CHECK(sum_of(target, {0x1p30, 1, -0x1p30, 0.25, 3, 4, 5, 6, 7}, 1) == 26.25);
    CHECK(std::isnan(sum_of(target, {1, std::nan(""), 2}, 1)));
    const double infinity = std::numeric_limits<double>::infinity();
    CHECK(sum_of(target, {1, infinity, 2, 3, 4}, 1) == infinity);
    CHECK(sum_of(target, {1, -infinity, 2, 3, 4}, 1) == -infinity);
    CHECK(std::isnan(sum_of(target, {1, infinity, 2, -infinity}, 1)));
  });
}

}  // namespace anaphase::test
