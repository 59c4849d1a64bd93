// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

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
      const StepCoefficients noise = step_coefficients(level, previous, Prediction::noise, 0);
      const double found = noise[Index::x0_from_x] * x_t + noise[Index::x0_from_prediction] * e;
      CHECK(found == doctest::Approx(x0).epsilon(1e-4));
      for (const Prediction kind : {Prediction::noise, Prediction::clean}) {
        const StepCoefficients c = step_coefficients(level, previous, kind, 0);
        CHECK(c[Index::from_x0] * x0 + c[Index::from_x] * x_t ==
              doctest::Approx(expected).epsilon(1e-5));
        CHECK(c[Index::sigma] == 0);
      }
    }
}

TEST_CASE("eta 1 gives the posterior of DDPM") {
  // Ho et al., eq. 7: mean = sqrt(a_prev) beta / (1 - a) x0 + sqrt(alpha) (1 - a_prev) / (1 - a)
  // x_t, variance = (1 - a_prev) / (1 - a) beta, with alpha = a / a_prev, beta = 1 - alpha
  for (const double level : {0.8, 0.3, 0.01}) {
    const double previous = level + 0.1, alpha = level / previous, beta = 1 - alpha;
    const StepCoefficients c = step_coefficients(level, previous, Prediction::clean, 1);
    CHECK(c[Index::from_x0] ==
          doctest::Approx(std::sqrt(previous) * beta / (1 - level)).epsilon(1e-5));
    CHECK(c[Index::from_x] ==
          doctest::Approx(std::sqrt(alpha) * (1 - previous) / (1 - level)).epsilon(1e-5));
    CHECK(c[Index::sigma] ==
          doctest::Approx(std::sqrt((1 - previous) / (1 - level) * beta)).epsilon(1e-5));
  }
  CHECK(step_coefficients(0.5, 1.0, Prediction::clean, 1)[Index::sigma] ==
        0);  // the last step is clean
}

}  // namespace anaphase::test
