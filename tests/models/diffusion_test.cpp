// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "kernels/common/error.hpp"
#include "kernels/common/philox.hpp"
#include "models/diffusion/sampler.hpp"
#include "models/diffusion/schedule.hpp"

namespace anaphase::test {
using namespace models;
using Index = kernels::ReverseStepCoefficients;

TEST_CASE("noise schedules fall from nearly 1 to nearly 0") {
  for (const char* name : {"linear", "cosine", "sigmoid"})
    for (const int steps : {10, 1000}) {
      CAPTURE(name);
      CAPTURE(steps);
      const std::vector<double> levels = alpha_bar(name, steps);
      REQUIRE(levels.size() == static_cast<std::size_t>(steps));
      for (int t = 0; t < steps; ++t) {
        CHECK(levels[t] > 0);
        CHECK(levels[t] < (t == 0 ? 1 : levels[t - 1]));
        CHECK(1 - levels[t] / (t == 0 ? 1 : levels[t - 1]) <= 0.999 + 1e-12);
      }
      CHECK(levels.front() > 0.7);
      CHECK(levels.back() < 1e-2);
    }
}

TEST_CASE("noise schedules agree with their formulas") {
  // linear, T = 1000: beta_0 = 1e-4, beta_1 = 1e-4 + 0.0199 / 999
  const std::vector<double> linear = alpha_bar("linear", 1000);
  CHECK(linear[0] == doctest::Approx(1 - 1e-4).epsilon(1e-12));
  CHECK(linear[1] == doctest::Approx((1 - 1e-4) * (1 - 1e-4 - 0.0199 / 999)).epsilon(1e-12));
  // cosine at the middle: cos^2((0.5 + 0.008) / 1.008 * pi / 2) / cos^2(0.008 / 1.008 * pi / 2)
  const auto f = [](double u) {
    return std::pow(std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2), 2);
  };
  CHECK(alpha_bar("cosine", 1000)[499] == doctest::Approx(f(0.5) / f(0)).epsilon(1e-9));
  // sigmoid is antisymmetric about its middle
  const std::vector<double> sigmoid = alpha_bar("sigmoid", 1000);
  CHECK(sigmoid[499] == doctest::Approx(0.5).epsilon(1e-9));
  CHECK(sigmoid[199] + sigmoid[799] == doctest::Approx(1.0).epsilon(1e-9));
}

TEST_CASE("spaced timesteps are distinct and span the schedule") {
  for (const int steps : {2, 10, 1000})
    for (int count = 1; count <= std::min(steps, 120); ++count) {
      const std::vector<int> timesteps = spaced_timesteps(steps, count);
      REQUIRE(timesteps.size() == static_cast<std::size_t>(count));
      CHECK(timesteps.front() == steps - 1);
      if (count > 1) CHECK(timesteps.back() == 0);
      CHECK(std::is_sorted(timesteps.rbegin(), timesteps.rend()));
      CHECK(std::set<int>(timesteps.begin(), timesteps.end()).size() == timesteps.size());
    }
}

TEST_CASE("DDIM with the true noise stays on the trajectory") {
  // x_t = sqrt(a) x0 + sqrt(1 - a) e: with a perfect prediction a step of any length lands on the
  // same x0, e.
  const double x0 = 0.3, e = -0.8;
  for (const double level : {0.9, 0.5, 1e-3})
    for (const double previous : {0.95, 0.99, 1.0}) {
      const double x_t = std::sqrt(level) * x0 + std::sqrt(1 - level) * e;
      const double expected = std::sqrt(previous) * x0 + std::sqrt(1 - previous) * e;
      const StepCoefficients noise =
          step_coefficients(Sampler::ddim, level, previous, Prediction::noise);
      const double found = noise[Index::x0_from_x] * x_t + noise[Index::x0_from_prediction] * e;
      CHECK(found == doctest::Approx(x0).epsilon(1e-4));
      for (const Prediction kind : {Prediction::noise, Prediction::clean}) {
        const StepCoefficients c = step_coefficients(Sampler::ddim, level, previous, kind);
        CHECK(c[Index::from_x0] * x0 + c[Index::from_x] * x_t ==
              doctest::Approx(expected).epsilon(1e-5));
        CHECK(c[Index::sigma] == 0);
      }
    }
}

TEST_CASE("DDPM steps are its posterior") {
  // Ho et al., eq. 7: mean = sqrt(a_prev) beta / (1 - a) x0 + sqrt(alpha) (1 - a_prev) / (1 - a)
  // x_t, variance = (1 - a_prev) / (1 - a) beta, with alpha = a / a_prev, beta = 1 - alpha
  for (const double level : {0.8, 0.3, 0.01}) {
    const double previous = level + 0.1, alpha = level / previous, beta = 1 - alpha;
    const StepCoefficients c = step_coefficients(Sampler::ddpm, level, previous, Prediction::clean);
    CHECK(c[Index::from_x0] ==
          doctest::Approx(std::sqrt(previous) * beta / (1 - level)).epsilon(1e-5));
    CHECK(c[Index::from_x] ==
          doctest::Approx(std::sqrt(alpha) * (1 - previous) / (1 - level)).epsilon(1e-5));
    CHECK(c[Index::sigma] ==
          doctest::Approx(std::sqrt((1 - previous) / (1 - level) * beta)).epsilon(1e-5));
  }
  CHECK(step_coefficients(Sampler::ddpm, 0.5, 1.0, Prediction::clean)[Index::sigma] ==
        0);  // the last step is clean
}

namespace {

/// Runs a reverse process on one value whose data are N(mean, variance): the exact clean estimate
/// is known at every level. Ends at the level of the last timestep; noise is drawn by `draw`.
template <class Draw>
double integrate(const std::vector<StepCoefficients>& steps, const std::vector<double>& levels,
                 const std::vector<int>& timesteps, double mean, double variance, double x,
                 Draw&& draw) {
  double before = NAN;
  for (std::size_t i = 0; i + 1 < timesteps.size(); ++i) {
    const double level = levels[timesteps[i]];
    const double gain = std::sqrt(level) * variance / (level * variance + 1 - level);
    const double x0 = mean + gain * (x - std::sqrt(level) * mean);
    const StepCoefficients& c = steps[i];
    double next = c[Index::from_x0] * x0 + c[Index::from_x] * x;
    if (c[Index::from_x0_before] != 0) next += c[Index::from_x0_before] * before;
    if (c[Index::sigma] != 0) next += c[Index::sigma] * draw();
    x = next;
    before = x0;
  }
  return x;
}

}  // namespace

TEST_CASE("deterministic samplers converge to the Gaussian's known solution at their order") {
  // The probability flow of N(m, s^2) keeps a value's distance from the mean in deviations:
  // (x - sqrt(a) m) / sqrt(a s^2 + 1 - a) is the same at every level a.
  const double mean = 0.4, variance = 0.09, start = 1.3;
  for (const char* schedule : {"sigmoid", "cosine", "linear"}) {
    const std::vector<double> levels = alpha_bar(schedule, 20000);  // a fine grid of levels
    const auto error = [&](Sampler sampler, int count) {
      std::vector<int> timesteps;  // over levels where the solution is smooth
      for (int i = 0; i < count; ++i) timesteps.push_back(16000 - 12000 * i / (count - 1));
      const auto steps = reverse_coefficients(sampler, levels, timesteps, Prediction::clean);
      const auto spread = [&](int t) { return std::sqrt(levels[t] * variance + 1 - levels[t]); };
      const auto centre = [&](int t) { return std::sqrt(levels[t]) * mean; };
      const int first = timesteps.front(), last = timesteps.back();
      const double exact = centre(last) + (start - centre(first)) / spread(first) * spread(last);
      return std::abs(
          integrate(steps, levels, timesteps, mean, variance, start, [] { return 0.0; }) - exact);
    };
    CAPTURE(schedule);
    for (const auto& [sampler, order] :
         {std::pair{Sampler::ddim, 1.0}, std::pair{Sampler::dpm, 2.0}}) {
      const double coarse = error(sampler, 21), fine = error(sampler, 81);
      const double found = std::log(coarse / fine) / std::log(4.0);
      CAPTURE(order);
      CHECK(found > order - 0.25);
      CHECK(found < order + 0.6);
    }
    CHECK(error(Sampler::dpm, 21) < error(Sampler::ddim, 21) / 3);
  }
}

TEST_CASE("DDPM ends with the data's mean and variance") {
  const double mean = 0.4, variance = 0.09;
  const std::vector<double> levels = alpha_bar("sigmoid", 1000);
  const std::vector<int> timesteps = spaced_timesteps(1000, 1000);
  const auto steps = reverse_coefficients(Sampler::ddpm, levels, timesteps, Prediction::clean);
  kernels::PhiloxStream random(5);
  const auto normal = [&] {  // Box and Muller
    const double u = random.uniform(), v = random.uniform();
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
  };
  constexpr int count = 2000;
  double sum = 0, squares = 0;
  for (int i = 0; i < count; ++i) {
    const double x = integrate(steps, levels, timesteps, mean, variance, normal(), normal);
    sum += x;
    squares += x * x;
  }
  const double found_mean = sum / count, found = squares / count - found_mean * found_mean;
  const double last = levels[0], expected = last * variance + 1 - last;
  // Five standard errors, and 2 % for the finite steps.
  CHECK(std::abs(found_mean - std::sqrt(last) * mean) <= 5 * std::sqrt(expected / count));
  CHECK(std::abs(found / expected - 1) <= 5 * std::sqrt(2.0 / count) + 0.02);
}

TEST_CASE("coefficients are finite for every sampler, schedule and number of steps") {
  for (const char* schedule : {"sigmoid", "cosine", "linear"}) {
    const std::vector<double> levels = alpha_bar(schedule, 1000);
    for (const Sampler sampler : {Sampler::ddim, Sampler::ddpm, Sampler::dpm})
      for (const Prediction prediction : {Prediction::clean, Prediction::noise})
        for (int count = 1; count <= 100; ++count) {
          const auto steps =
              reverse_coefficients(sampler, levels, spaced_timesteps(1000, count), prediction);
          REQUIRE(steps.size() == static_cast<std::size_t>(count));
          bool finite = true;
          for (const StepCoefficients& step : steps)
            for (const float c : step) finite = finite && std::isfinite(c);
          CHECK(finite);
          // The last step ends at the clean estimate, without noise.
          CHECK(steps.back()[Index::from_x0] == doctest::Approx(1));
          CHECK(steps.back()[Index::from_x] == doctest::Approx(0));
          CHECK(steps.back()[Index::from_x0_before] == 0);
          CHECK(steps.back()[Index::sigma] == 0);
          CHECK(steps.front()[Index::from_x0_before] == 0);
        }
  }
  CHECK_THROWS_AS(sampler_named("euler"), Error);
}

}  // namespace anaphase::test
