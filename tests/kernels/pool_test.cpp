// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool/pool.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

constexpr Tolerance exact{.relative = 0, .bf16_relative = 0};

struct Size {
  int n, h, w, c;
  std::int64_t in() const { return std::int64_t{n} * h * w * c; }
  std::int64_t out() const { return std::int64_t{n} * (h / 2) * (w / 2) * c; }
};
// The last are rows enough for a GPU's threads to take four each.
const Size sizes[] = {{1, 2, 2, 1},  {2, 3, 5, 3},   {1, 7, 4, 17},
                      {2, 6, 9, 33}, {3, 33, 64, 8}, {1, 129, 127, 16},
                      {3, 1, 5, 8},  {1, 5, 1, 4},   {2, 16391, 66, 1}};

struct Pooled {
  float y;
  std::int32_t index;
};

Pooled pool_of(const std::vector<float>& window) {
  Pooled pooled{-1, -1};
  run(Cpu{}, MaxPoolForward{.x = window.data(), .y = &pooled.y, .index = &pooled.index});
  return pooled;
}

}  // namespace

TEST_CASE("max pool") {
  for (const Size& s : sizes)
    for_each_target([&](const Target& target) {
      const auto build = [&](Arena& m) {
        return MaxPoolForward{.n = s.n,
                              .h = s.h,
                              .w = s.w,
                              .c = s.c,
                              .type = m.type(),
                              .x = m.input("x", s.in()),
                              .y = m.output("y", s.out()),
                              .index = m.label_output("index", s.out())};
      };
      compare(target, build, exact);
      compare_thread_counts(target, build);
    });
}

TEST_CASE("max pool takes the first of equals, and a NaN before all") {
  const double nan = std::nan("");
  // every window of four values out of these, ties and several NaNs included: channel c holds
  // window c, and the last ones some of the first again
  const double values[] = {-INFINITY, 0, 2, INFINITY, nan};
  constexpr int channels = 640;  // 5^4 = 625, and whole vectors
  std::vector<double> x(4 * channels);
  for (int c = 0; c < channels; ++c)
    for (int k = 0, choices = c; k < 4; ++k, choices /= 5)
      x[k * channels + c] = values[choices % 5];
  for_each_target([&](const Target& target) {
    compare(
        target,
        [&](Arena& m) {
          return MaxPoolForward{.n = 1,
                                .h = 2,
                                .w = 2,
                                .c = channels,
                                .type = m.type(),
                                .x = m.input("x", x),
                                .y = m.output("y", channels),
                                .index = m.label_output("index", channels)};
        },
        exact);
  });
  CHECK(pool_of({1, 4, 2, 3}).y == 4);
  CHECK(pool_of({1, 4, 2, 3}).index == 1);
  CHECK(pool_of({5, 5, 5, 5}).index == 0);
  CHECK(pool_of({1, 5, 5, 2}).index == 1);
  CHECK(pool_of({-INFINITY, -INFINITY, -INFINITY, -1e30F}).index == 3);
  CHECK(pool_of({INFINITY, 1, NAN, NAN}).index == 2);
  CHECK(std::isnan(pool_of({NAN, 1, 2, INFINITY}).y));
}

TEST_CASE("max pool backward") {
  for (const Size& s : sizes)
    for_each_target([&](const Target& target) {
      std::vector<std::int32_t> index(s.out());
      for (std::int64_t i = 0; i < s.out(); ++i)
        index[i] = static_cast<std::int32_t>(i * 7 % 13 % 4);
      const auto build = [&](Arena& m) {
        return MaxPoolBackward{.n = s.n,
                               .h = s.h,
                               .w = s.w,
                               .c = s.c,
                               .type = m.type(),
                               .dy = m.input("dy", s.out()),
                               .index = m.labels("index", index),
                               .dx = m.output("dx", s.in())};
      };
      compare(target, build, exact);
      compare_thread_counts(target, build);
    });
}

TEST_CASE("max pool backward is the gradient of the forward pass") {
  const Size s{2, 5, 4, 3};
  const std::vector<double> x = random_values("x", s.in(), -1, 1),
                            weight = random_values("weight", s.out(), -1, 1);
  std::vector<std::int32_t> index(s.out());
  const auto forward = [&](const std::vector<double>& at) {
    std::vector<double> y(s.out());
    run(Reference{},
        MaxPoolForward{s.n, s.h, s.w, s.c, DType::f64, at.data(), y.data(), index.data()});
    return dot(y, weight);
  };
  forward(x);
  std::vector<double> dx(s.in());
  run(Reference{},
      MaxPoolBackward{s.n, s.h, s.w, s.c, DType::f64, weight.data(), index.data(), dx.data()});
  check_gradient(forward, x, dx);
}

}  // namespace anaphase::test
