// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/contract.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace anaphase::test {
using namespace kernels;

namespace {

const Target cpu_f32{{DeviceKind::cpu}, DType::f32};
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

/// The number of complaints where `actual` stands for `expected`.
std::size_t complaints(const std::vector<double>& expected, const std::vector<double>& actual,
                       Tolerance tolerance, const Target& target = cpu_f32) {
  Arena right({DeviceKind::reference}, DType::f64, target.type),
      tested(target.stream, target.type, target.type);
  right.param_in_out("y", expected);
  tested.param_in_out("y", actual);
  return mismatches(target, right, tested, tolerance).size();
}

}  // namespace

TEST_CASE("the checker passes what is within the tolerance and no more") {
  const Tolerance absolute{.absolute = 0.25};
  CHECK(complaints({1, 2}, {1, 2}, {}) == 0);
  CHECK(complaints({1, 2}, {1.25, 1.75}, absolute) == 0);
  CHECK(complaints({1, 2}, {1, 2.375}, absolute) == 1);
  CHECK(complaints({1, 2}, {0.625, 2}, absolute) == 1);
  // The relative bound adds the root mean square to the value: 0.125 * (3 + 3).
  CHECK(complaints({3, -3}, {3.75, -3}, {.relative = 0.125}) == 0);
  CHECK(complaints({3, -3}, {3.8125, -3}, {.relative = 0.125}) == 1);
}

TEST_CASE("the checker widens the relative bound for bf16 alone") {
  const Tolerance tolerance{.relative = 0, .bf16_relative = 0.125};
  const Target cpu_bf16{{DeviceKind::cpu}, DType::bf16};
  CHECK(complaints({4, 4}, {4.75, 4}, tolerance, cpu_bf16) == 0);
  CHECK(complaints({4, 4}, {4.75, 4}, tolerance) == 1);
}

TEST_CASE("the checker fails on a NaN or an infinity on one side alone") {
  const Tolerance wide{.relative = 1e30, .absolute = 1e30};
  CHECK(complaints({1, 2}, {1, nan}, wide) == 1);
  CHECK(complaints({1, nan}, {1, 2}, wide) == 1);
  CHECK(complaints({1, 2}, {1, inf}, wide) == 1);
  CHECK(complaints({1, inf}, {1, 2}, wide) == 1);
  CHECK(complaints({1, inf}, {1, -inf}, wide) == 1);
  CHECK(complaints({nan, inf, -inf}, {nan, inf, -inf}, {}) == 0);
}

TEST_CASE("the checker fails on an unwritten element") {
  for_each_target([](const Target& target) {
    Arena right({DeviceKind::reference}, DType::f64, target.type),
        tested(target.stream, target.type, target.type);
    for (Arena* arena : {&right, &tested}) {
      arena->output("y", 1);
      arena->param_output("loss", 1);
      arena->label_output("label", 1);
    }
    Arena written({DeviceKind::reference}, DType::f64, target.type);
    *static_cast<double*>(written.output("y", 1)) = 0;
    *static_cast<double*>(written.param_output("loss", 1)) = 0;
    *written.label_output("label", 1) = 0;
    CHECK(mismatches(target, written, tested, {.absolute = 0.5}).size() == 3);
  });
}

TEST_CASE("the checker notices a write past the end of any buffer") {
  Arena right({DeviceKind::reference}, DType::f64, DType::f32),
      tested(cpu_f32.stream, DType::f32, DType::f32);
  std::vector<float*> ends;
  for (Arena* arena : {&right, &tested}) {
    arena->in_out("y", 3);
    auto* x = static_cast<float*>(arena->input("x", 3));
    auto* workspace = static_cast<float*>(arena->workspace(12));
    if (arena == &tested) ends = {x + 3, workspace + 3};
  }
  REQUIRE(mismatches(cpu_f32, right, tested, {.relative = 1e-6}).empty());
  for (float* end : ends) {
    const float before = *end;
    *end = 0;
    CHECK(mismatches(cpu_f32, right, tested, {.relative = 1e-6}).size() == 1);
    *end = before;
  }
}

TEST_CASE("inputs are rounded to the tested type before any device sees them") {
  Arena reference({DeviceKind::reference}, DType::f64, DType::bf16);
  reference.input("x", std::vector<double>{1.001});
  reference.param_input("gamma", std::vector<double>{1.001});
  CHECK(reference.values("x")[0] == 1.0);
  CHECK(reference.values("gamma")[0] == static_cast<double>(1.001F));
}

}  // namespace anaphase::test
