// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "kernels/group_norm/ladder.hpp"
#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

struct Case {
  GroupNormShape shape;
  Activation activation = Activation::none;
  bool scale_shift = false;
  double offset = 0, spread = 1;  // of x
  bool in_place = false;

  std::int64_t count() const { return shape.n * shape.pixels * shape.channels; }
  int statistics() const { return shape.n * shape.groups; }
};

GroupNormForward forward(const Case& c, Arena& m) {
  const int channels = c.shape.channels;
  const double low = c.offset - c.spread, high = c.offset + c.spread;
  void* x = c.in_place ? m.in_out("x", c.count(), low, high) : m.input("x", c.count(), low, high);
  return {
      .shape = c.shape,
      .type = m.type(),
      .epsilon = 1e-3F,
      .x = x,
      .gamma = m.param_input("gamma", channels, 0.5, 1.5),
      .beta = m.param_input("beta", channels),
      .scale_shift = c.scale_shift ? m.input("scale_shift", 2L * c.shape.n * channels) : nullptr,
      .activation = c.activation,
      .y = c.in_place ? x : m.output("y", c.count()),
      .mean = m.param_output("mean", c.statistics()),
      .rstd = m.param_output("rstd", c.statistics())};
}

GroupNormBackward backward(const Case& c, Arena& m) {
  const int channels = c.shape.channels;
  const double rstd = std::sqrt(3) / c.spread;  // of uniform values
  void* dy = c.in_place ? m.in_out("dy", c.count()) : m.input("dy", c.count());
  return {
      .shape = c.shape,
      .type = m.type(),
      .x = m.input("x", c.count(), c.offset - c.spread, c.offset + c.spread),
      .gamma = m.param_input("gamma", channels, 0.5, 1.5),
      .beta = m.param_input("beta", channels),
      .scale_shift = c.scale_shift ? m.input("scale_shift", 2L * c.shape.n * channels) : nullptr,
      .activation = c.activation,
      .mean =
          m.param_input("mean", c.statistics(), c.offset - c.spread / 8, c.offset + c.spread / 8),
      .rstd = m.param_input("rstd", c.statistics(), 0.9 * rstd, 1.1 * rstd),
      .dy = dy,
      .dx = c.in_place ? dy : m.output("dx", c.count()),
      .dgamma = m.param_output("dgamma", channels),
      .dbeta = m.param_output("dbeta", channels),
      .dscale_shift =
          c.scale_shift ? m.output("dscale_shift", 2L * c.shape.n * channels) : nullptr};
}

void compare_both(const Case& c, Tolerance tolerance) {
  CAPTURE(c.shape.n);
  CAPTURE(c.shape.pixels);
  CAPTURE(c.shape.channels);
  CAPTURE(c.shape.groups);
  for_each_target([&](const Target& target) {
    compare(
        target, [&](Arena& m) { return forward(c, m); }, tolerance);
    compare(
        target, [&](Arena& m) { return backward(c, m); }, tolerance);
  });
}

/// Each rung of the ladder that takes the sizes, on the GPU or the executor.
void compare_rungs(const Case& c, Tolerance tolerance) {
  CAPTURE(c.shape.n);
  CAPTURE(c.shape.pixels);
  CAPTURE(c.shape.channels);
  CAPTURE(c.shape.groups);
  for_each_target([&](const Target& target) {
    if (target.stream.kind == DeviceKind::cpu) return;
    for (const auto& [rung, name] : group_norm::ladder) {
      const std::string rung_name = name;
      CAPTURE(rung_name);
      const auto compare_rung = [&, rung = rung](auto&& build) {
        Arena sizes(target.stream, target.type, target.type);
        if (!takes(rung, build(sizes))) return;
        compare(
            target,
            [&](Arena& m) {
              return group_norm::ByRung{build(m), rung};
            },
            tolerance);
      };
      compare_rung([&](Arena& m) { return forward(c, m); });
      compare_rung([&](Arena& m) { return backward(c, m); });
    }
  });
}

// Each value is a few roundings of 2^-24 away, relative to value + scale; a float sum has at most
// 32 terms before it goes on pairwise and then in double, 2^-19 at the very worst. On a GPU it is
// at most 32 terms in a thread as well (of v1 and v2 up to 128, whose errors mostly cancel), and
// then eight rows of threads at a time. dgamma and dbeta are sums whose terms cancel: of N terms,
// sqrt(N) times larger than a term, with errors that grow the same way.
constexpr Tolerance tolerance{.relative = 0x1p-18};
/// For values of x up to 1, whose mean may be close to 0.
constexpr Tolerance near_zero{.relative = 0x1p-18, .absolute = 0x1p-22};

/// The reference's group norm of x as a function, for finite differences and properties.
struct Result {
  std::vector<double> y, mean, rstd;
};

Result reference_forward(const Case& c, const std::vector<double>& x,
                         const std::vector<double>& gamma, const std::vector<double>& beta,
                         const std::vector<double>& scale_shift, float epsilon = 1e-5F) {
  Result result{std::vector<double>(x.size()), std::vector<double>(c.statistics()),
                std::vector<double>(c.statistics())};
  run(Reference{},
      GroupNormForward{.shape = c.shape,
                       .epsilon = epsilon,
                       .x = x.data(),
                       .gamma = gamma.data(),
                       .beta = beta.data(),
                       .scale_shift = scale_shift.empty() ? nullptr : scale_shift.data(),
                       .activation = c.activation,
                       .y = result.y.data(),
                       .mean = result.mean.data(),
                       .rstd = result.rstd.data()});
  return result;
}

}  // namespace

TEST_CASE("group norm agrees with the reference over sizes with tails") {
  for (const GroupNormShape shape :
       {GroupNormShape{1, 1, 1, 1}, GroupNormShape{2, 3, 4, 2}, GroupNormShape{3, 7, 6, 3},
        GroupNormShape{1, 33, 17, 1}, GroupNormShape{2, 127, 24, 8}, GroupNormShape{2, 1025, 16, 8},
        GroupNormShape{1, 64, 512, 32}, GroupNormShape{1, 17, 516, 4},
        GroupNormShape{2, 9, 1030, 10}})
    for (const Activation activation : {Activation::none, Activation::silu})
      for (const bool scale_shift : {false, true})
        compare_both({.shape = shape, .activation = activation, .scale_shift = scale_shift},
                     near_zero);
}

TEST_CASE("every rung of the ladder agrees with the reference") {
  // Every kernel of every rung, for whole vectors, vectors in which groups begin, and single lanes.
  for (const GroupNormShape shape :
       {GroupNormShape{1, 1, 1, 1},     GroupNormShape{2, 3, 4, 2},
        GroupNormShape{3, 7, 6, 3},     GroupNormShape{1, 33, 17, 1},
        GroupNormShape{2, 127, 24, 8},  GroupNormShape{2, 35, 136, 8},
        GroupNormShape{1, 600, 16, 8},  GroupNormShape{1, 64, 128, 8},
        GroupNormShape{1, 17, 516, 4},  GroupNormShape{1, 9, 206, 2},
        GroupNormShape{1, 130, 260, 1}, GroupNormShape{1, 2100, 32, 4},
        GroupNormShape{2, 1025, 24, 3}, GroupNormShape{1, 2500, 5, 5},
        GroupNormShape{1, 8, 257, 1},   GroupNormShape{1, 40, 257, 1},
        GroupNormShape{1, 3, 536, 536}, GroupNormShape{1, 2100, 8, 8},
        GroupNormShape{1, 1300, 32, 8}, GroupNormShape{3, 1, 64, 8},
        GroupNormShape{1, 200, 16, 2},  GroupNormShape{1, 300, 16, 2}}) {
    compare_rungs({.shape = shape, .activation = Activation::silu, .scale_shift = true}, near_zero);
    if (shape.pixels < 1000) compare_rungs({.shape = shape}, near_zero);
  }
}

TEST_CASE("every rung of the ladder works in place and keeps its precision") {
  compare_rungs({.shape = {2, 300, 16, 4}, .offset = 1e6}, tolerance);
  compare_rungs({.shape = {1, 300, 6, 3}, .offset = 1e6, .in_place = true}, tolerance);
  compare_rungs({.shape = {1, 100, 8, 2}, .spread = 1e15}, tolerance);
  compare_rungs({.shape = {1, 300, 16, 2},
                 .activation = Activation::silu,
                 .scale_shift = true,
                 .in_place = true},
                near_zero);
}

TEST_CASE("group norm in chunks of several tiles") {
  // 260 samples leave 3 blocks for each, and a row of threads is one pixel: a tile is 8 pixels.
  const Case c{.shape = {260, 33, 129, 1}};
  const auto tiling = group_norm::tile_split(c.shape, DType::f32, 1);
  REQUIRE(tiling->pixels == 16);
  REQUIRE(tiling->chunks == 3);
  for_each_target([&](const Target& target) {
    if (target.stream.kind == DeviceKind::cpu || target.type == DType::bf16) return;
    const auto rung = group_norm::Rung::v4_split;
    compare(
        target,
        [&](Arena& m) {
          return group_norm::ByRung{forward(c, m), rung};
        },
        near_zero);
    compare(
        target,
        [&](Arena& m) {
          return group_norm::ByRung{backward(c, m), rung};
        },
        near_zero);
  });
}

TEST_CASE("group norm of a batch that does not fit the cache at once") {
  compare_both({.shape = {3, 128 * 128, 32, 8}, .activation = Activation::silu}, near_zero);
}

TEST_CASE("group norm works in place") {
  compare_both({.shape = {2, 1025, 16, 8},
                .activation = Activation::silu,
                .scale_shift = true,
                .in_place = true},
               near_zero);
}

TEST_CASE("group norm does not depend on the number of threads") {
  const Case c{.shape = {2, 5000, 16, 8}, .activation = Activation::silu, .scale_shift = true};
  for_each_target([&](const Target& target) {
    compare_thread_counts(target, [&](Arena& m) { return forward(c, m); });
    compare_thread_counts(target, [&](Arena& m) { return backward(c, m); });
  });
}

TEST_CASE("group norm keeps its precision under a large common offset") {
  // The neighbours of 10^6 are 2^-4 apart, and the mean rounded to float is off by up to 2^-5: no
  // error of that size may be left. (All bf16 inputs are equal here.)
  compare_both({.shape = {2, 300, 16, 4}, .offset = 1e6}, tolerance);
}

TEST_CASE("group norm of large and of small values") {
  for (const double spread : {1e15, 1e-2, 1e-12})
    compare_both({.shape = {1, 100, 8, 2}, .spread = spread}, tolerance);
}

TEST_CASE("group norm of a constant is beta") {
  for_each_target([](const Target& target) {
    for (const double value : {0.0, 1.0, 1e6, 3.14159e4}) {
      compare(target,
              [&](Arena& m) {
                return GroupNormForward{.shape = {1, 3001, 6, 2},
                                        .type = m.type(),
                                        .x = m.input("x", std::vector<double>(3001 * 6, value)),
                                        .gamma = m.param_input("gamma", 6),
                                        .beta = m.param_input("beta", 6),
                                        .y = m.output("y", 3001 * 6),
                                        .mean = m.param_output("mean", 2),
                                        .rstd = m.param_output("rstd", 2)};
              },
              {.relative = 0x1p-23});
    }
  });
}

TEST_CASE("a NaN spoils its group and no other") {
  for_each_target([](const Target& target) {
    std::vector<double> x = random_values("x", 50 * 8, -1, 1);
    x[17 * 8 + 3] = NAN;
    compare(
        target,
        [&](Arena& m) {
          return GroupNormForward{.shape = {1, 50, 8, 4},
                                  .type = m.type(),
                                  .x = m.input("x", x),
                                  .gamma = m.param_input("gamma", 8),
                                  .beta = m.param_input("beta", 8),
                                  .activation = Activation::silu,
                                  .y = m.output("y", 50 * 8),
                                  .mean = m.param_output("mean", 4),
                                  .rstd = m.param_output("rstd", 4)};
        },
        tolerance);
  });
}

TEST_CASE("the reference's groups have mean 0 and deviation 1") {
  const Case c{.shape = {2, 50, 6, 3}};
  const std::vector<double> x = random_values("x", c.count(), 3, 9);
  const Result result =
      reference_forward(c, x, std::vector<double>(6, 1), std::vector<double>(6), {},
                        /*epsilon=*/0);
  for (int s = 0; s < 2; ++s) {
    for (int g = 0; g < 3; ++g) {
      double sum = 0, square = 0;
      for (int p = 0; p < 50; ++p) {
        for (int k = 2 * g; k < 2 * g + 2; ++k) {
          const double y = result.y[(s * 50 + p) * 6 + k];
          sum += y;
          square += y * y;
        }
      }
      CHECK(std::abs(sum / 100) < 1e-14);
      CHECK(std::abs(square / 100 - 1) < 1e-14);
    }
  }
}

TEST_CASE("the reference by hand") {
  // Two channels in one group, x = 1, 3, 5, 7: mean 4, variance 5; with epsilon 4, rstd = 1/3.
  const Case c{.shape = {1, 2, 2, 1}, .scale_shift = true};
  const Result result = reference_forward(c, {1, 3, 5, 7}, {3, 6}, {1, 2}, {1, -0.5, 10, 20}, 4);
  CHECK(result.mean[0] == 4);
  CHECK(result.rstd[0] == doctest::Approx(1.0 / 3).epsilon(1e-15));
  // z = -3 + 1, -2 + 2, 1 + 1, 6 + 2; y = 2 z + 10 and z / 2 + 20.
  const double expected[] = {6, 20, 14, 24};
  for (int i = 0; i < 4; ++i) CHECK(result.y[i] == doctest::Approx(expected[i]).epsilon(1e-14));
}

TEST_CASE("the reference's gradients are those of its group norm") {
  for (const Activation activation : {Activation::none, Activation::silu}) {
    const Case c{.shape = {2, 3, 6, 3}, .activation = activation, .scale_shift = true};
    const std::vector<double> x = random_values("x", c.count(), -2, 2),
                              gamma = random_values("gamma", 6, 0.5, 1.5),
                              beta = random_values("beta", 6, -1, 1),
                              scale_shift = random_values("scale_shift", 24, -1, 1),
                              dy = random_values("dy", c.count(), -1, 1);
    const Result at = reference_forward(c, x, gamma, beta, scale_shift);
    std::vector<double> dx(x.size()), dgamma(6), dbeta(6), dscale_shift(24);
    run(Reference{}, GroupNormBackward{.shape = c.shape,
                                       .x = x.data(),
                                       .gamma = gamma.data(),
                                       .beta = beta.data(),
                                       .scale_shift = scale_shift.data(),
                                       .activation = activation,
                                       .mean = at.mean.data(),
                                       .rstd = at.rstd.data(),
                                       .dy = dy.data(),
                                       .dx = dx.data(),
                                       .dgamma = dgamma.data(),
                                       .dbeta = dbeta.data(),
                                       .dscale_shift = dscale_shift.data()});
    using Values = const std::vector<double>&;
    check_gradient(
        [&](Values v) { return dot(reference_forward(c, v, gamma, beta, scale_shift).y, dy); }, x,
        dx);
    check_gradient(
        [&](Values v) { return dot(reference_forward(c, x, v, beta, scale_shift).y, dy); }, gamma,
        dgamma);
    check_gradient(
        [&](Values v) { return dot(reference_forward(c, x, gamma, v, scale_shift).y, dy); }, beta,
        dbeta);
    check_gradient([&](Values v) { return dot(reference_forward(c, x, gamma, beta, v).y, dy); },
                   scale_shift, dscale_shift);
  }
}

}  // namespace anaphase::test
