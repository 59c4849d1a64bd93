// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/diffusion.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kernels/random/random.hpp"
#include "tests/kernels/contract.hpp"
#include "tests/kernels/finite_difference.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

using C = ReverseStepCoefficients;
constexpr double rounding = 0x1p-24;   // of one float operation
constexpr double normal_error = 2e-6;  // of a normal number in float
const std::int64_t lengths[] = {1, 3, 7, 33, 127, 1024, 1025, 5003};
const std::vector<double> alpha_bar = {0.9999, 0.9, 0.5, 0.04, 0.0025};
const std::vector<std::int32_t> steps = {0, 4, 2};
const std::vector<std::uint64_t> keys = {1, 1ULL << 40, 0xFFFFFFFFFFFFFFFFULL};

/// DDIM coefficients (arXiv 2010.02502, eq. 12, sigma 0) for a noise prediction.
std::vector<double> ddim(double level, double previous) {
  return {1 / std::sqrt(level),
          -std::sqrt((1 - level) / level),
          std::sqrt(previous) - std::sqrt((1 - previous) / (1 - level)) * std::sqrt(level),
          0,
          std::sqrt((1 - previous) / (1 - level)),
          0};
}

std::vector<float> to_float(const std::vector<double>& x) {
  return {x.begin(), x.end()};
}

/// One sample of a constant signal, noised.
struct Noised {
  std::vector<float> x_t, noise;
};

Noised noised(float signal, std::int64_t count, std::int32_t t, std::uint64_t key = 77,
              std::uint32_t draw = 2) {
  const std::vector<float> x(count, signal), levels = to_float(alpha_bar);
  Noised result{std::vector<float>(count), std::vector<float>(count)};
  run(Cpu{}, ForwardNoise{.n = 1,
                          .per_sample = count,
                          .x = x.data(),
                          .t = &t,
                          .alpha_bar = levels.data(),
                          .keys = &key,
                          .draw = draw,
                          .x_t = result.x_t.data(),
                          .noise = result.noise.data()});
  return result;
}

}  // namespace

TEST_CASE("forward noise") {
  for (const std::int64_t length : lengths)
    for_each_target([&](const Target& target) {
      // |x| <= 1 and |noise| < 6 round a few times each
      const Tolerance tolerance{.absolute = normal_error + 8 * rounding * 6};
      const auto build = [&](Arena& m) {
        return ForwardNoise{.n = 3,
                            .per_sample = length,
                            .type = m.type(),
                            .x = m.input("x", 3 * length),
                            .t = m.labels("t", steps),
                            .alpha_bar = m.param_input("alpha_bar", alpha_bar),
                            .keys = m.keys("keys", keys),
                            .draw = 12,
                            .x_t = m.output("x_t", 3 * length),
                            .noise = m.output("noise", 3 * length)};
      };
      compare(target, build, tolerance);
      compare_thread_counts(target, build);
      compare(
          target,
          [&](Arena& m) {
            void* x = m.in_out("x", 3 * length);
            return ForwardNoise{.n = 3,
                                .per_sample = length,
                                .type = m.type(),
                                .x = x,
                                .t = m.labels("t", steps),
                                .alpha_bar = m.param_input("alpha_bar", alpha_bar),
                                .keys = m.keys("keys", keys),
                                .draw = 12,
                                .x_t = x};
          },
          tolerance);
    });
}

TEST_CASE("the noise that the forward process keeps is RandomNormal's, bit for bit") {
  for (const std::int64_t count : {1024, 5003})
    for_each_target([&](const Target& target) {
      Arena m(target.stream, target.type, target.type);
      const std::uint64_t* key = m.keys("key", {77});
      launch(m.stream(), RandomNormal{.n = 1,
                                      .per_sample = count,
                                      .type = m.type(),
                                      .keys = key,
                                      .draw = 2,
                                      .y = m.output("normal", count)});
      launch(m.stream(), ForwardNoise{.n = 1,
                                      .per_sample = count,
                                      .type = m.type(),
                                      .x = m.input("x", count),
                                      .t = m.labels("t", {1}),
                                      .alpha_bar = m.param_input("alpha_bar", alpha_bar),
                                      .keys = key,
                                      .draw = 2,
                                      .x_t = m.output("x_t", count),
                                      .noise = m.output("noise", count)});
      CHECK(m.values("noise") == m.values("normal"));
    });
  CHECK(noised(0, 1024, 1, 78).noise != noised(0, 1024, 1).noise);
  CHECK(noised(0, 1024, 1, 77, 3).noise != noised(0, 1024, 1).noise);
}

TEST_CASE("the forward process has the mean and variance of its closed form") {
  const int count = 1 << 18;
  for (std::int32_t t = 0; t < 5; ++t) {
    const double level = alpha_bar[t], deviation = std::sqrt(1 - level);
    const std::vector<float> x_t = noised(0.8F, count, t).x_t;
    double mean = 0, variance = 0;
    for (const float v : x_t) mean += static_cast<double>(v) / count;
    for (const float v : x_t) variance += (v - mean) * (v - mean) / count;
    // five standard errors
    CHECK(std::abs(mean - 0.8 * std::sqrt(level)) <= 5 * deviation / std::sqrt(count));
    CHECK(std::abs(variance - (1 - level)) <= 5 * (1 - level) * std::sqrt(2.0 / count));
  }
}

TEST_CASE("forward noise backward") {
  for (const std::int64_t length : lengths)
    for_each_target([&](const Target& target) {
      const Tolerance tolerance{.relative = 4 * rounding};
      const auto build = [&](Arena& m) {
        return ForwardNoiseBackward{.n = 3,
                                    .per_sample = length,
                                    .type = m.type(),
                                    .t = m.labels("t", steps),
                                    .alpha_bar = m.param_input("alpha_bar", alpha_bar),
                                    .dx_t = m.input("dx_t", 3 * length),
                                    .dx = m.output("dx", 3 * length)};
      };
      compare(target, build, tolerance);
      compare_thread_counts(target, build);
      compare(
          target,
          [&](Arena& m) {
            void* dx = m.in_out("dx", 3 * length);
            return ForwardNoiseBackward{.n = 3,
                                        .per_sample = length,
                                        .type = m.type(),
                                        .t = m.labels("t", steps),
                                        .alpha_bar = m.param_input("alpha_bar", alpha_bar),
                                        .dx_t = dx,
                                        .dx = dx};
          },
          tolerance);
    });
}

TEST_CASE("forward noise backward is the gradient of forward noise") {
  const int n = 3, length = 5;
  const std::vector<double> dx_t = random_values("dx_t", n * length, -1, 1);
  std::vector<double> dx(n * length);
  run(Reference{}, ForwardNoiseBackward{n, length, DType::f64, steps.data(), alpha_bar.data(),
                                        dx_t.data(), dx.data()});
  const auto forward = [&](const std::vector<double>& x) {
    std::vector<double> x_t(n * length);
    run(Reference{}, ForwardNoise{n, length, DType::f64, x.data(), steps.data(), alpha_bar.data(),
                                  keys.data(), 1, x_t.data(), nullptr});
    return dot(x_t, dx_t);
  };
  check_gradient(forward, random_values("x", n * length, -1, 1), dx);
}

TEST_CASE("predict clean") {
  for (const std::int64_t length : lengths)
    for (const float limit : {1.0F, 100.0F})
      for_each_target([&](const Target& target) {
        // (1 + 1) / sqrt(0.0025) = 40 before the clamp, and a few roundings of it
        const Tolerance tolerance{.absolute = 8 * rounding * 40};
        const auto predict = [&](Arena& m, int aliased) {
          void* x_t = m.in_out("x_t", 3 * length);
          void* noise = m.in_out("noise", 3 * length);
          void* outputs[] = {x_t, noise, aliased == 2 ? m.output("x0", 3 * length) : nullptr};
          return PredictClean{.n = 3,
                              .per_sample = length,
                              .type = m.type(),
                              .low = -limit,
                              .high = 0.75F * limit,
                              .t = m.labels("t", steps),
                              .alpha_bar = m.param_input("alpha_bar", alpha_bar),
                              .x_t = x_t,
                              .noise = noise,
                              .x0 = outputs[aliased]};
        };
        for (const int aliased : {0, 1, 2})
          compare(
              target, [&](Arena& m) { return predict(m, aliased); }, tolerance);
        compare_thread_counts(target, [&](Arena& m) { return predict(m, 2); });
      });
}

TEST_CASE("predict clean undoes forward noise and clamps") {
  const int count = 1000;
  const std::vector<float> levels = to_float(alpha_bar);
  const auto clean = [&](const Noised& from, std::int32_t t, float low, float high) {
    std::vector<float> x0(count);
    run(Cpu{}, PredictClean{.n = 1,
                            .per_sample = count,
                            .low = low,
                            .high = high,
                            .t = &t,
                            .alpha_bar = levels.data(),
                            .x_t = from.x_t.data(),
                            .noise = from.noise.data(),
                            .x0 = x0.data()});
    return x0;
  };
  for (std::int32_t t = 0; t < 5; ++t)
    for (const float signal : {-0.7F, 0.0F, 1.0F})
      for (const float v : clean(noised(signal, count, t), t, -2, 2))
        // x_t is below 6 and rounds a few times, amplified by 1 / sqrt(alpha_bar)
        CHECK(std::abs(v - signal) <= 4 * rounding * 6 / std::sqrt(alpha_bar[t]));
  for (const float v : clean(noised(0.9F, count, 2), 2, -0.5F, 0.5F)) CHECK(v == 0.5F);
  for (const float v : clean(noised(-0.9F, count, 2), 2, -0.5F, 0.5F)) CHECK(v == -0.5F);
}

TEST_CASE("a NaN passes the clamp") {
  std::vector<double> values = random_values("values", 40, -3, 3);
  values[17] = values[36] = NAN;
  for_each_target([&](const Target& target) {
    const Tolerance tolerance{.absolute = 8 * rounding * 40};  // as in the tests of either
    compare(
        target,
        [&](Arena& m) {
          return PredictClean{.n = 1,
                              .per_sample = 40,
                              .type = m.type(),
                              .t = m.labels("t", {1}),
                              .alpha_bar = m.param_input("alpha_bar", alpha_bar),
                              .x_t = m.input("x_t", values),
                              .noise = m.input("noise", 40),
                              .x0 = m.output("x0", 40)};
        },
        tolerance);
    compare(
        target,
        [&](Arena& m) {
          return ReverseStep{.n = 1,
                             .per_sample = 40,
                             .type = m.type(),
                             .coefficients = m.param_input("row", {1.6, -1.3, 0.7, 0, 0.4, 0}),
                             .step = m.labels("step", {0}),
                             .x_t = m.input("x_t", 40),
                             .prediction = m.input("prediction", values),
                             .x_prev = m.output("x_prev", 40),
                             .x0 = m.output("x0", 40)};
        },
        tolerance);
  });
}

TEST_CASE("reverse step") {
  struct Case {
    double sigma, from_before;
    bool has_before;
  };
  for (const std::int64_t length : lengths)
    for (const Case& c : {Case{0, 0, false}, Case{0.3, 0, false}, Case{0, -0.6, true},
                          Case{0.3, 0.5, true}, Case{0, 0.5, false}, Case{0, 0, true}})
      for_each_target([&](const Target& target) {
        // estimates of up to 4 before the clamp, sums of up to 5 after it
        const Tolerance tolerance{.absolute = c.sigma * normal_error + 16 * rounding * 5};
        std::vector<double> coefficients(std::size_t{6} * C::count, NAN);  // of other steps
        for (const double value : {1.6, -1.3, 0.7, c.from_before, 0.4, c.sigma})
          coefficients.push_back(value);
        const auto step_back = [&](Arena& m, bool in_place) {
          void* x_t = m.in_out("x_t", 3 * length);
          void* before = c.has_before ? m.in_out("x0_before", 3 * length) : nullptr;
          return ReverseStep{.n = 3,
                             .per_sample = length,
                             .type = m.type(),
                             .low = -0.9F,
                             .high = 1.1F,
                             .coefficients = m.param_input("coefficients", coefficients),
                             .step = m.labels("step", {6}),
                             .x_t = x_t,
                             .prediction = m.input("prediction", 3 * length),
                             .x0_before = before,
                             .keys = m.keys("keys", keys),
                             .draw = 0xFFFFFFFDU,  // draw + step wraps around
                             .x_prev = in_place ? x_t : m.output("x_prev", 3 * length),
                             .x0 = in_place ? before : m.output("x0", 3 * length)};
        };
        for (const bool in_place : {false, true})
          compare(
              target, [&](Arena& m) { return step_back(m, in_place); }, tolerance);
        compare_thread_counts(target, [&](Arena& m) { return step_back(m, false); });
      });
}

TEST_CASE("every setting of the reverse step changes its answer, and no sigma means no draw") {
  const auto answer = [](auto&& change) {
    float row[] = {1.6F, -1.3F, 0.7F, -0.2F, 0.4F, 0.3F};
    const float x_t[] = {0.5F, -0.9F}, prediction[] = {0.1F, 0.8F}, before[] = {0.4F, -0.3F};
    std::int32_t step = 1;
    std::uint64_t key = 3;
    std::vector<float> x_prev(2);
    ReverseStep op{.n = 1,
                   .per_sample = 2,
                   .step = &step,
                   .x_t = x_t,
                   .prediction = prediction,
                   .x0_before = before,
                   .keys = &key,
                   .draw = 10,
                   .x_prev = x_prev.data()};
    change(op, row, step, key);
    std::vector<float> coefficients;  // the same in every step
    for (int i = 0; i <= step; ++i) coefficients.insert(coefficients.end(), row, row + C::count);
    op.coefficients = coefficients.data();
    run(Cpu{}, op);
    return x_prev;
  };
  const auto base = answer([](auto&&...) {});
  for (int i = 0; i < C::count; ++i)
    CHECK(answer([i](auto&, float* c, auto&, auto&) { c[i] *= 0.5F; }) != base);
  CHECK(answer([](ReverseStep& op, auto&&...) { op.low = -0.1F; }) != base);
  CHECK(answer([](ReverseStep& op, auto&&...) { op.high = 0.1F; }) != base);
  CHECK(answer([](ReverseStep& op, auto&&...) { op.draw = 11; }) != base);
  CHECK(answer([](auto&, auto&, std::int32_t& step, auto&) { step = 2; }) != base);
  CHECK(answer([](auto&, auto&, auto&, std::uint64_t& key) { key = 4; }) != base);
  CHECK(answer([](ReverseStep& op, auto&, std::int32_t& step, auto&) {
          op.draw = 8;
          step = 3;
        }) == base);  // the same sum

  const auto still = answer([](auto&, float* c, auto&, auto&) { c[C::sigma] = 0; });
  CHECK(answer([](ReverseStep& op, float* c, std::int32_t& step, auto&) {
          c[C::sigma] = 0;
          op.keys = nullptr;
          step = 5;
        }) == still);

  const float nothing[] = {NAN, NAN};
  const auto first = answer([](auto&, float* c, auto&, auto&) { c[C::from_x0_before] = 0; });
  CHECK(answer([&](ReverseStep& op, float* c, auto&, auto&) {
          c[C::from_x0_before] = 0;
          op.x0_before = nothing;
        }) == first);
  CHECK(answer([](ReverseStep& op, auto&&...) { op.x0_before = nullptr; }) == first);
}

TEST_CASE("reverse step by hand") {
  const float coefficients[] = {2, -1, 0.5F, 0, 0.25F, 0}, x_t = 0.5F, prediction = -0.5F;
  const std::int32_t step = 0;
  const std::uint64_t key = 0;
  float x_prev = 0, x0 = 0;
  run(Cpu{}, ReverseStep{.n = 1,
                         .per_sample = 1,
                         .coefficients = coefficients,
                         .step = &step,
                         .x_t = &x_t,
                         .prediction = &prediction,
                         .keys = &key,
                         .x_prev = &x_prev,
                         .x0 = &x0});
  CHECK(x0 == 1);           // clamp(2 * 0.5 + 0.5)
  CHECK(x_prev == 0.625F);  // 0.5 * 1 + 0.25 * 0.5
}

TEST_CASE("with the exact noise, DDIM steps follow the forward process back to the signal") {
  const int count = 1000;
  const float signal = 0.6F;
  std::vector<float> x = noised(signal, count, 4).x_t;
  const std::vector<float> noise = noised(signal, count, 4).noise;
  const std::int32_t step = 0;
  for (int t = 4; t >= 0; --t) {
    const double previous = t > 0 ? alpha_bar[t - 1] : 1.0;
    const std::vector<float> coefficients = to_float(ddim(alpha_bar[t], previous));
    run(Cpu{}, ReverseStep{.n = 1,
                           .per_sample = count,
                           .low = -2,
                           .high = 2,
                           .coefficients = coefficients.data(),
                           .step = &step,
                           .x_t = x.data(),
                           .prediction = noise.data(),
                           .keys = nullptr,
                           .x_prev = x.data()});
    for (int i = 0; i < count; ++i) {
      const double expected = std::sqrt(previous) * signal + std::sqrt(1 - previous) * noise[i];
      // the first step magnifies the roundings of x_t and of its own coefficients by 20
      CHECK(std::abs(x[i] - expected) <= 16 * rounding * 6 * 20);
    }
  }
}

TEST_CASE("a reverse step has the mean and variance of its closed form") {
  // x0 = 0.3 and x_t = 1 everywhere: mean 0.4 * 0.3 + 0.5 * 1
  const int count = 1 << 18;
  const float sigma = 0.25F, coefficients[] = {0.3F, 0, 0.4F, 0, 0.5F, sigma};
  const std::vector<float> x_t(count, 1), prediction(count, 0);
  std::vector<float> x_prev(count);
  const std::int32_t step = 0;
  const std::uint64_t key = 123;
  run(Cpu{}, ReverseStep{.n = 1,
                         .per_sample = count,
                         .coefficients = coefficients,
                         .step = &step,
                         .x_t = x_t.data(),
                         .prediction = prediction.data(),
                         .keys = &key,
                         .x_prev = x_prev.data()});
  double mean = 0, variance = 0;
  for (const float v : x_prev) mean += static_cast<double>(v) / count;
  for (const float v : x_prev) variance += (v - mean) * (v - mean) / count;
  // five standard errors
  CHECK(std::abs(mean - 0.62) <= 5 * sigma / std::sqrt(count));
  CHECK(std::abs(variance - 0.0625) <= 5 * 0.0625 * std::sqrt(2.0 / count));
}

TEST_CASE("the next step has its own timestep, for all samples") {
  for (const int n : {1, 3, 33, 1025})
    for_each_target([&](const Target& target) {
      compare(target,
              [&](Arena& m) {
                return NextStep{.n = n,
                                .timesteps = m.labels("timesteps", {999, 500, 0}),
                                .step = m.label_in_out("step", {0}),
                                .t = m.label_output("t", n)};
              },
              {});
    });
  std::int32_t step = -1, t = 0;
  const std::int32_t timesteps[] = {9, 4, 0};
  for (const std::int32_t expected : timesteps) {
    run(Cpu{}, NextStep{.n = 1, .timesteps = timesteps, .step = &step, .t = &t});
    CHECK(t == expected);
  }
  CHECK(step == 2);
}

TEST_CASE("timestep embedding") {
  for (const int channels : {2, 3, 8, 33, 128, 257})
    for_each_target([&](const Target& target) {
      const auto build = [&](Arena& m) {
        return TimestepEmbedding{.n = 5,
                                 .channels = channels,
                                 .type = m.type(),
                                 .t = m.labels("t", {0, 1, 17, 999, 100000}),
                                 .y = m.output("y", 5 * channels)};
      };
      // angles in double: what is left is one rounding to float, and 1e5 roundings of 2^-53
      compare(target, build, {.absolute = rounding + 1e-10});
      compare_thread_counts(target, build);
    });
}

TEST_CASE("timestep embedding by hand") {
  const std::int32_t t[] = {0, 3};
  std::vector<float> y(10);
  run(Cpu{}, TimestepEmbedding{.n = 2, .channels = 5, .t = t, .y = y.data()});
  // two frequencies: 1 and 1/100; sines, cosines, and a zero
  const double expected[] = {
      0, 0, 1, 1, 0, std::sin(3.0), std::sin(0.03), std::cos(3.0), std::cos(0.03), 0};
  for (int i = 0; i < 10; ++i) CHECK(std::abs(y[i] - expected[i]) <= 1e-7);
}

}  // namespace anaphase::test
