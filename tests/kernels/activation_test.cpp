// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation/activation.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/common/vector_math.hpp"
#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

constexpr Activation all_activations[] = {
    Activation::none, Activation::relu, Activation::leaky_relu, Activation::silu, Activation::gelu};
constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

/// The distance of y from the exact value in units of its last place (that of the smallest normal
/// number for what lies below it).
double ulps(float y, double exact) {
  const double magnitude = std::max(std::abs(exact), 0x1p-126);
  const double ulp = std::ldexp(1.0, std::ilogb(magnitude) - 23);
  return std::abs(static_cast<double>(y) - exact) / ulp;
}

/// The largest error of f against `exact` over about 200 000 floats in [low, high], which lie
/// evenly or, with `by_bits`, as floats do.
template <class F, class Exact>
double largest_error(float low, float high, F f, Exact exact, bool by_bits = false) {
  constexpr int count = 200000;
  double worst = 0;
  for (int i = 0; i <= count; ++i) {
    float x = low + (high - low) * (static_cast<float>(i) / count);
    if (by_bits) {
      const auto from = std::bit_cast<std::uint32_t>(low), to = std::bit_cast<std::uint32_t>(high);
      x = std::bit_cast<float>(from +
                               static_cast<std::uint32_t>(std::uint64_t{to - from} * i / count));
    }
    const double error = exact(f(x), static_cast<double>(x));
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

}  // namespace

TEST_CASE("fast_exp is within 2 ulp and keeps overflow, underflow and NaN") {
  const auto error = [](float y, double x) { return ulps(y, std::exp(x)); };
  CHECK(largest_error(-87, 88.7F, fast_exp, error) <= 2);
  CHECK(largest_error(-1, 1, fast_exp, error) <= 2);
  CHECK(largest_error(1e-30F, 1, fast_exp, error, true) <= 2);
  CHECK(largest_error(-110, -87, fast_exp, error) <= 2);
  CHECK(fast_exp(0) == 1);
  CHECK(fast_exp(-0.0F) == 1);
  CHECK(std::isfinite(fast_exp(88.72F)));
  CHECK(fast_exp(88.73F) == inf);
  CHECK(fast_exp(1e30F) == inf);
  CHECK(fast_exp(inf) == inf);
  CHECK(fast_exp(-103) > 0);  // a subnormal number
  CHECK(fast_exp(-104) == 0);
  CHECK(fast_exp(-1e30F) == 0);
  CHECK(fast_exp(-inf) == 0);
  CHECK(std::isnan(fast_exp(nan)));
  CHECK(std::isnan(fast_exp(-nan)));
}

TEST_CASE("sigmoid is within 4 ulp above -87 and stays there below") {
  const auto error = [](float y, double x) { return ulps(y, 1 / (1 + std::exp(-x))); };
  CHECK(largest_error(-87, 100, sigmoid, error) <= 4);
  CHECK(largest_error(-2, 2, sigmoid, error) <= 4);
  CHECK(sigmoid(0) == 0.5F);
  CHECK(sigmoid(1e30F) == 1);
  CHECK(sigmoid(inf) == 1);
  CHECK(sigmoid(-1e30F) == sigmoid(-87));
  CHECK(sigmoid(-inf) == sigmoid(-87));
  CHECK(std::isnan(sigmoid(nan)));
}

TEST_CASE("fast_log1p is within 4 ulp for positive arguments") {
  const auto error = [](float y, double x) { return ulps(y, std::log1p(x)); };
  CHECK(largest_error(1e-37F, 0x1p100F, fast_log1p, error, true) <= 4);
  CHECK(largest_error(0, 8, fast_log1p, error) <= 4);
  CHECK(largest_error(0.4F, 0.43F, fast_log1p, error) <= 4);
  CHECK(fast_log1p(0) == 0);
  CHECK(std::isnan(fast_log1p(nan)));
}

TEST_CASE("the normal distribution is within 2^-22") {
  const auto distribution = [](float x) { return normal(x).distribution; };
  const auto density = [](float x) { return normal(x).density; };
  CHECK(largest_error(-20, 20, distribution, [](float y, double x) {
          return std::abs(static_cast<double>(y) - std::erfc(-x / std::sqrt(2.0)) / 2);
        }) <= 0x1p-22);
  CHECK(largest_error(-20, 20, density, [](float y, double x) {
          const double exact = std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846);
          return std::abs(static_cast<double>(y) - exact);
        }) <= 0x1p-22);
  CHECK(normal(1e30F).distribution == 1);
  CHECK(normal(-1e30F).distribution == 0);
  CHECK(normal(1e30F).density == 0);
  CHECK(std::isnan(normal(nan).distribution));
  CHECK(std::isnan(normal(nan).density));
}

// f32: the sigmoid's 4 ulp (2^-21 of its value), or the 2^-22 of the normal distribution where it
// differs from 0 and 1 (|x| < 4), and some roundings of the products: below 2^-20 of value + scale.
constexpr Tolerance tolerance{.relative = 0x1p-20};

TEST_CASE("activations agree with the reference") {
  for (const Activation activation : all_activations) {
    for (const std::int64_t count : {1, 3, 7, 17, 33, 64, 127, 8191, 8192, 8193, 40001}) {
      for_each_target([&](const Target& target) {
        const auto forward = [&](Arena& m) {
          return ActivationForward{.count = count,
                                   .type = m.type(),
                                   .activation = activation,
                                   .slope = 0.2F,
                                   .x = m.input("x", count, -8, 8),
                                   .y = m.output("y", count)};
        };
        const auto backward = [&](Arena& m) {
          return ActivationBackward{.count = count,
                                    .type = m.type(),
                                    .activation = activation,
                                    .slope = 0.2F,
                                    .x = m.input("x", count, -8, 8),
                                    .dy = m.input("dy", count),
                                    .dx = m.output("dx", count)};
        };
        compare(target, forward, tolerance);
        compare(target, backward, tolerance);
        compare_thread_counts(target, forward);
        compare_thread_counts(target, backward);
      });
    }
  }
}

TEST_CASE("activations work in place") {
  for (const Activation activation : all_activations) {
    for_each_target([&](const Target& target) {
      compare(
          target,
          [&](Arena& m) {
            void* x = m.in_out("x", 1001, -8, 8);
            return ActivationForward{
                .count = 1001, .type = m.type(), .activation = activation, .x = x, .y = x};
          },
          tolerance);
      compare(
          target,
          [&](Arena& m) {
            void* dy = m.in_out("dy", 1001);
            return ActivationBackward{.count = 1001,
                                      .type = m.type(),
                                      .activation = activation,
                                      .x = m.input("x", 1001, -8, 8),
                                      .dy = dy,
                                      .dx = dy};
          },
          tolerance);
    });
  }
}

TEST_CASE("activations of zero, large values and NaN") {
  const std::vector<double> x{0, 1e4, -1e4, 1e30, -80, NAN};
  for (const Activation activation : all_activations) {
    for_each_target([&](const Target& target) {
      // What is not 0 in the reference and below 2^-126 * |x| may come out as that much.
      const Tolerance extremes{.relative = 0x1p-20, .absolute = 0x1p-110};
      compare(
          target,
          [&](Arena& m) {
            return ActivationForward{.count = 6,
                                     .type = m.type(),
                                     .activation = activation,
                                     .x = m.input("x", x),
                                     .y = m.output("y", 6)};
          },
          extremes);
      compare(
          target,
          [&](Arena& m) {
            return ActivationBackward{.count = 6,
                                      .type = m.type(),
                                      .activation = activation,
                                      .x = m.input("x", x),
                                      .dy = m.input("dy", 6),
                                      .dx = m.output("dx", 6)};
          },
          extremes);
    });
  }
}

TEST_CASE("leaky relu uses its slope, and may differentiate from its result") {
  const std::vector<double> x{-2, -1, 0, 1, 2}, dy{1, 1, 1, 1, 1};
  std::vector<double> y(5);
  const auto activation = Activation::leaky_relu;
  run(Reference{},
      ActivationForward{
          .count = 5, .activation = activation, .slope = 0.25F, .x = x.data(), .y = y.data()});
  CHECK(y == std::vector<double>{-0.5, -0.25, 0, 1, 2});
  for (const std::vector<double>& at : {x, y}) {
    std::vector<double> dx(5);
    run(Reference{}, ActivationBackward{.count = 5,
                                        .activation = activation,
                                        .slope = 0.25F,
                                        .x = at.data(),
                                        .dy = dy.data(),
                                        .dx = dx.data()});
    CHECK(dx == std::vector<double>{0.25, 0.25, 0.25, 1, 1});
  }
}

TEST_CASE("the reference's derivatives are those of its activations") {
  // An even number of values that misses 0, where relu has no derivative.
  std::vector<double> x(40);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = (static_cast<double>(i) - 19.5) / 4;
  const std::vector<double> dy = random_values("dy", 40, -1, 1);
  for (const Activation activation : all_activations) {
    std::vector<double> dx(x.size());
    run(Reference{}, ActivationBackward{.count = 40,
                                        .activation = activation,
                                        .x = x.data(),
                                        .dy = dy.data(),
                                        .dx = dx.data()});
    check_gradient(
        [&](const std::vector<double>& at) {
          std::vector<double> y(at.size());
          run(Reference{},
              ActivationForward{
                  .count = 40, .activation = activation, .x = at.data(), .y = y.data()});
          return dot(y, dy);
        },
        x, dx);
  }
}

}  // namespace anaphase::test
