// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

struct Case {
  std::int64_t rows = 1;
  int channels = 1;
  Activation activation = Activation::none;
  bool training = true;
  double offset = 0, spread = 1;  // of x
  bool in_place = false;

  std::int64_t count() const { return rows * channels; }
};

BatchNormForward forward(const Case& c, Arena& m) {
  const double low = c.offset - c.spread, high = c.offset + c.spread;
  void* x = c.in_place ? m.in_out("x", c.count(), low, high) : m.input("x", c.count(), low, high);
  return {.rows = c.rows,
          .channels = c.channels,
          .type = m.type(),
          .epsilon = 1e-3F,
          .momentum = 0.25F,
          .training = c.training,
          .x = x,
          .gamma = m.param_input("gamma", c.channels),
          .beta = m.param_input("beta", c.channels),
          .running_mean =
              m.param_in_out("running_mean", random_values("running_mean", c.channels, low, high)),
          .running_variance = m.param_in_out("running_variance",
                                             random_values("running_variance", c.channels, 0.5, 2)),
          .activation = c.activation,
          .slope = 0.2F,
          .y = c.in_place ? x : m.output("y", c.count()),
          .mean = m.param_output("mean", c.channels),
          .rstd = m.param_output("rstd", c.channels)};
}

BatchNormBackward backward(const Case& c, Arena& m) {
  const double rstd = std::sqrt(3) / c.spread;  // of uniform values
  void* dy = c.in_place ? m.in_out("dy", c.count()) : m.input("dy", c.count());
  return {
      .rows = c.rows,
      .channels = c.channels,
      .type = m.type(),
      .training = c.training,
      .x = m.input("x", c.count(), c.offset - c.spread, c.offset + c.spread),
      .gamma = m.param_input("gamma", c.channels),
      .beta = m.param_input("beta", c.channels),
      .mean = m.param_input("mean", c.channels, c.offset - c.spread / 8, c.offset + c.spread / 8),
      .rstd = m.param_input("rstd", c.channels, 0.9 * rstd, 1.1 * rstd),
      .activation = c.activation,
      .slope = 0.2F,
      .dy = dy,
      .dx = c.in_place ? dy : m.output("dx", c.count()),
      .dgamma = m.param_output("dgamma", c.channels),
      .dbeta = m.param_output("dbeta", c.channels)};
}

void compare_both(const Case& c, Tolerance tolerance) {
  CAPTURE(c.rows);
  CAPTURE(c.channels);
  for_each_target([&](const Target& target) {
    compare(
        target, [&](Arena& m) { return forward(c, m); }, tolerance);
    compare(
        target, [&](Arena& m) { return backward(c, m); }, tolerance);
  });
}

// Each value is a few roundings of 2^-24 away, relative to value + scale; a float sum has at most
// 32 terms before it goes on pairwise and then in double, 2^-19 at the very worst. On a GPU it is
// 8 terms of a tile, the tiles of a chunk, and eight rows of threads at a time, likewise.
constexpr Tolerance tolerance{.relative = 0x1p-18};
/// For values of x up to 1, whose mean may be close to 0.
constexpr Tolerance near_zero{.relative = 0x1p-18, .absolute = 0x1p-22};

struct Result {
  std::vector<double> y, mean, rstd, running_mean, running_variance;
};

Result reference_forward(const Case& c, const std::vector<double>& x,
                         const std::vector<double>& gamma, const std::vector<double>& beta,
                         float epsilon = 1e-5F) {
  const std::vector<double> zeros(c.channels), ones(c.channels, 1);
  Result result{std::vector<double>(x.size()), zeros, zeros, zeros, ones};
  run(Reference{}, BatchNormForward{.rows = c.rows,
                                    .channels = c.channels,
                                    .epsilon = epsilon,
                                    .momentum = 0.25F,
                                    .training = c.training,
                                    .x = x.data(),
                                    .gamma = gamma.data(),
                                    .beta = beta.data(),
                                    .running_mean = result.running_mean.data(),
                                    .running_variance = result.running_variance.data(),
                                    .activation = c.activation,
                                    .slope = 0.2F,
                                    .y = result.y.data(),
                                    .mean = result.mean.data(),
                                    .rstd = result.rstd.data()});
  return result;
}

}  // namespace

TEST_CASE("batch norm agrees with the reference over sizes with tails") {
  for (const auto& [rows, channels] :
       {std::pair{1, 1}, std::pair{2, 3}, std::pair{33, 17}, std::pair{127, 16},
        std::pair{4097, 16}, std::pair{20001, 1}, std::pair{70, 512}, std::pair{9, 1030},
        std::pair{33, 68}, std::pair{33, 72}})
    for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu})
      for (const bool training : {true, false})
        compare_both(
            {.rows = rows, .channels = channels, .activation = activation, .training = training},
            near_zero);
}

TEST_CASE("batch norm of so many channels that a chunk is all rows") {
  compare_both({.rows = 70, .channels = 8193, .activation = Activation::relu}, near_zero);
}

TEST_CASE("batch norm works in place") {
  for (const bool training : {true, false})
    compare_both({.rows = 1025,
                  .channels = 16,
                  .activation = Activation::leaky_relu,
                  .training = training,
                  .in_place = true},
                 near_zero);
}

TEST_CASE("batch norm does not depend on the number of threads") {
  const Case c{.rows = 20000, .channels = 16, .activation = Activation::relu};
  for_each_target([&](const Target& target) {
    compare_thread_counts(target, [&](Arena& m) { return forward(c, m); });
    compare_thread_counts(target, [&](Arena& m) { return backward(c, m); });
  });
}

TEST_CASE("batch norm keeps its precision under a large common offset") {
  // The neighbours of 10^6 are 2^-4 apart, and the mean rounded to float is off by up to 2^-5: no
  // error of that size may be left. (All bf16 inputs are equal here.)
  compare_both({.rows = 3000, .channels = 6, .offset = 1e6}, tolerance);
}

TEST_CASE("batch norm of a constant is beta, and the running variance falls") {
  for_each_target([](const Target& target) {
    compare(target,
            [](Arena& m) {
              const Case c{.rows = 5001, .channels = 2, .offset = 1e6, .spread = 0};
              return forward(c, m);
            },
            {.relative = 0x1p-22});
  });
}

TEST_CASE("a folded batch norm agrees with the reference") {
  for (const auto& [channels, per_channel] :
       {std::pair{1, 1}, std::pair{3, 27}, std::pair{16, 144}, std::pair{257, 300}})
    for (const bool has_bias : {true, false})
      for_each_target([&, channels = channels, per_channel = per_channel](const Target& target) {
        compare(target,
                [&](Arena& m) {
                  return FoldBatchNorm{
                      .channels = channels,
                      .per_channel = per_channel,
                      .epsilon = 1e-3F,
                      .weight = m.param_input("weight", std::int64_t{channels} * per_channel),
                      .bias = has_bias ? m.param_input("bias", channels) : nullptr,
                      .gamma = m.param_input("gamma", channels),
                      .beta = m.param_input("beta", channels),
                      .mean = m.param_input("mean", channels),
                      .variance = m.param_input("variance", channels, 0, 2),
                      .folded_weight =
                          m.param_output("folded_weight", std::int64_t{channels} * per_channel),
                      .folded_bias = m.param_output("folded_bias", channels)};
                },
                {.relative = 0x1p-21, .bf16_relative = 0});
      });
}

TEST_CASE("the reference by hand") {
  // x = 1, 3, 8: mean 4, variance 26/3, unbiased 13; with epsilon 1/3, rstd = 1/3.
  const Case c{.rows = 3, .channels = 1, .activation = Activation::leaky_relu};
  const Result result = reference_forward(c, {1, 3, 8}, {3}, {0.5}, 1.0F / 3);
  const double y[] = {0.2F * -2.5, 0.2F * -0.5, 4.5};
  for (int i = 0; i < 3; ++i) CHECK(result.y[i] == doctest::Approx(y[i]).epsilon(1e-8));
  CHECK(result.mean[0] == 4);
  CHECK(result.running_mean[0] == 1);
  CHECK(result.running_variance[0] == 0.75 + 0.25 * 13);
  // One row has no unbiased variance: the biased one, 0, is taken.
  const Result single = reference_forward({.rows = 1, .channels = 1}, {5}, {1}, {0});
  CHECK(single.running_variance[0] == 0.75);
}

TEST_CASE("outside training the running statistics are used and left alone") {
  const Case c{.rows = 2, .channels = 1, .training = false};
  const Result result = reference_forward(c, {5, 7}, {2}, {1}, 3);  // mean 0, variance 1: rstd 1/2
  CHECK(result.y == std::vector<double>{6, 8});
  CHECK(result.running_mean[0] == 0);
  CHECK(result.running_variance[0] == 1);
}

TEST_CASE("the reference's folded layer does what its layer and batch norm do") {
  // Two channels, each of one input: y = w x + b, then the batch norm of running statistics.
  const std::vector<double> weight{2, -0.5}, bias{1, 3}, gamma{1.5, -2}, beta{0.25, 1};
  std::vector<double> mean{0.5, -1}, variance{2, 0.125}, folded_weight(2), folded_bias(2);
  run(Reference{}, FoldBatchNorm{.channels = 2,
                                 .per_channel = 1,
                                 .weight = weight.data(),
                                 .bias = bias.data(),
                                 .gamma = gamma.data(),
                                 .beta = beta.data(),
                                 .mean = mean.data(),
                                 .variance = variance.data(),
                                 .folded_weight = folded_weight.data(),
                                 .folded_bias = folded_bias.data()});
  for (const double x : {-1.0, 0.0, 0.75}) {
    const std::vector<double> z{weight[0] * x + bias[0], weight[1] * x + bias[1]};
    std::vector<double> y(2), ignored_mean(2), ignored_rstd(2);
    run(Reference{}, BatchNormForward{.rows = 1,
                                      .channels = 2,
                                      .training = false,
                                      .x = z.data(),
                                      .gamma = gamma.data(),
                                      .beta = beta.data(),
                                      .running_mean = mean.data(),
                                      .running_variance = variance.data(),
                                      .y = y.data(),
                                      .mean = ignored_mean.data(),
                                      .rstd = ignored_rstd.data()});
    for (int c = 0; c < 2; ++c)
      CHECK(folded_weight[c] * x + folded_bias[c] == doctest::Approx(y[c]).epsilon(1e-12));
  }
}

TEST_CASE("the reference's gradients are those of its batch norm") {
  for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu}) {
    for (const bool training : {true, false}) {
      const Case c{.rows = 11, .channels = 3, .activation = activation, .training = training};
      const std::vector<double> x = random_values("x", c.count(), -2, 2),
                                gamma = random_values("gamma", 3, 0.5, 1.5),
                                beta = random_values("beta", 3, -1, 1),
                                dy = random_values("dy", c.count(), -1, 1);
      const Result at = reference_forward(c, x, gamma, beta);
      std::vector<double> dx(x.size()), dgamma(3), dbeta(3);
      run(Reference{}, BatchNormBackward{.rows = c.rows,
                                         .channels = c.channels,
                                         .training = training,
                                         .x = x.data(),
                                         .gamma = gamma.data(),
                                         .beta = beta.data(),
                                         .mean = at.mean.data(),
                                         .rstd = at.rstd.data(),
                                         .activation = activation,
                                         .slope = 0.2F,
                                         .dy = dy.data(),
                                         .dx = dx.data(),
                                         .dgamma = dgamma.data(),
                                         .dbeta = dbeta.data()});
      using Values = const std::vector<double>&;
      check_gradient([&](Values v) { return dot(reference_forward(c, v, gamma, beta).y, dy); }, x,
                     dx);
      check_gradient([&](Values v) { return dot(reference_forward(c, x, v, beta).y, dy); }, gamma,
                     dgamma);
      check_gradient([&](Values v) { return dot(reference_forward(c, x, gamma, v).y, dy); }, beta,
                     dbeta);
    }
  }
}

}  // namespace anaphase::test
