// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/reduce.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/contract.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

float sum_of(const std::vector<float>& x, double scale) {
  Sum op{.count = static_cast<std::int64_t>(x.size()), .scale = scale};
  std::vector<double> workspace(workspace_bytes(Cpu{}, op) / sizeof(double));
  float y = -1;
  op.x = x.data();
  op.y = &y;
  op.workspace = workspace.data();
  run(Cpu{}, op);
  return y;
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
        // summed in double, rounded to float once; double itself loses 1e5 roundings of 2^-53
        compare(target, build,
                {.relative = 0x1p-24,
                 .absolute = 1e5 * 0x1p-53 * static_cast<double>(count) * (offset + 1),
                 .bf16_relative = 0});
        compare_thread_counts(target, build);
      });
}

TEST_CASE("sum by hand") {
  CHECK(sum_of({1, 2, 3.5F}, 1) == 6.5F);
  CHECK(sum_of({1, 2, 3.5F}, 2) == 13);
  CHECK(sum_of({1e8F, 1, -1e8F}, 1) == 1);  // exact in double, lost in float
  CHECK(std::isnan(sum_of({1, std::nanf(""), 2}, 1)));
  CHECK(std::isinf(sum_of({1, std::numeric_limits<float>::infinity(), 2}, 1)));
}

}  // namespace anaphase::test
