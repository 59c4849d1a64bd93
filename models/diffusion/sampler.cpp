// SPDX-License-Identifier: Apache-2.0
#include "models/diffusion/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/common/error.hpp"

namespace anaphase::models {
namespace {

using Index = kernels::ReverseStepCoefficients;
using Coefficients = std::array<double, Index::count>;

StepCoefficients single(const Coefficients& c) {
  StepCoefficients rounded{};
  std::transform(c.begin(), c.end(), rounded.begin(),
                 [](double v) { return static_cast<float>(v); });
  return rounded;
}

/// The clean estimate from a prediction.
Coefficients estimate(double level, Prediction prediction) {
  Coefficients c{};
  const bool clean = prediction == Prediction::clean;
  c[Index::x0_from_x] = clean ? 0 : 1 / std::sqrt(level);
  c[Index::x0_from_prediction] = clean ? 1 : -std::sqrt((1 - level) / level);
  return c;
}

/// Half the logarithm of the ratio of signal to noise: lambda of arXiv 2211.01095.
double log_ratio(double level) {
  return 0.5 * std::log(level / (1 - level));
}

/// Multistep of second order: level `before` is that of the step before.
StepCoefficients second_order(double before, double level, double previous, Prediction prediction) {
  // x_prev = sigma_prev / sigma x_t - alpha_prev (e^-h - 1) ((1 + 1 / 2r) x0 - 1 / 2r x0_before)
  const double h = log_ratio(previous) - log_ratio(level);
  const double r = (log_ratio(level) - log_ratio(before)) / h;
  const double gain = -std::sqrt(previous) * std::expm1(-h);
  Coefficients c = estimate(level, prediction);
  c[Index::from_x] = std::sqrt((1 - previous) / (1 - level));
  c[Index::from_x0] = gain * (1 + 1 / (2 * r));
  c[Index::from_x0_before] = -gain / (2 * r);
  return single(c);
}

}  // namespace

Sampler sampler_named(std::string_view name) {
  if (name == "ddpm") return Sampler::ddpm;
  if (name == "ddim") return Sampler::ddim;
  if (name == "dpm") return Sampler::dpm;
  throw Error(fmt::format("unknown sampler '{}': use ddim, ddpm or dpm", name));
}

std::vector<int> spaced_timesteps(int steps, int count) {
  std::vector<int> timesteps(count, steps - 1);
  for (int i = 1; i < count; ++i)
    timesteps[i] = static_cast<int>(
        std::lround(static_cast<double>(steps - 1) * (count - 1 - i) / (count - 1)));
  return timesteps;
}

StepCoefficients step_coefficients(Sampler sampler, double level, double previous,
                                   Prediction prediction) {
  // x_prev = sqrt(previous) x0 + sqrt(1 - previous - variance) eps + sqrt(variance) z,
  // eps = (x_t - sqrt(level) x0) / sqrt(1 - level)
  const double variance =
      sampler == Sampler::ddpm ? (1 - previous) / (1 - level) * (1 - level / previous) : 0;
  const double direction = std::sqrt(std::max(0.0, 1 - previous - variance) / (1 - level));
  Coefficients c = estimate(level, prediction);
  c[Index::from_x0] = std::sqrt(previous) - std::sqrt(level) * direction;
  c[Index::from_x] = direction;
  c[Index::sigma] = std::sqrt(variance);
  return single(c);
}

std::vector<StepCoefficients> reverse_coefficients(Sampler sampler,
                                                   const std::vector<double>& levels,
                                                   const std::vector<int>& timesteps,
                                                   Prediction prediction) {
  std::vector<StepCoefficients> steps;
  const std::size_t count = timesteps.size();
  for (std::size_t i = 0; i < count; ++i) {
    const bool is_last = i + 1 == count;
    const double level = levels[timesteps[i]], previous = is_last ? 1 : levels[timesteps[i + 1]];
    if (sampler == Sampler::dpm && i > 0 && !is_last)
      steps.push_back(second_order(levels[timesteps[i - 1]], level, previous, prediction));
    else
      steps.push_back(step_coefficients(sampler, level, previous, prediction));
  }
  return steps;
}

}  // namespace anaphase::models
