// SPDX-License-Identifier: Apache-2.0
#include "models/diffusion/sampler.hpp"

#include <cmath>

namespace anaphase::models {

std::vector<int> spaced_timesteps(int steps, int count) {
  std::vector<int> timesteps(count, steps - 1);
  for (int i = 1; i < count; ++i)
    timesteps[i] = static_cast<int>(
        std::lround(static_cast<double>(steps - 1) * (count - 1 - i) / (count - 1)));
  return timesteps;
}

StepCoefficients step_coefficients(double level, double previous, Prediction prediction,
                                   double eta) {
  using Index = kernels::ReverseStepCoefficients;
  // x_prev = sqrt(previous) x0 + sqrt(1 - previous - sigma^2) eps + sigma z,
  // eps = (x_t - sqrt(level) x0) / sqrt(1 - level)
  const double variance = eta * eta * (1 - previous) / (1 - level) * (1 - level / previous);
  const double direction = std::sqrt(std::max(0.0, 1 - previous - variance) / (1 - level));
  const bool clean = prediction == Prediction::clean;
  std::array<double, Index::count> c{};
  c[Index::x0_from_x] = clean ? 0 : 1 / std::sqrt(level);
  c[Index::x0_from_prediction] = clean ? 1 : -std::sqrt((1 - level) / level);
  c[Index::from_x0] = std::sqrt(previous) - std::sqrt(level) * direction;
  c[Index::from_x] = direction;
  c[Index::sigma] = std::sqrt(variance);
  StepCoefficients single{};
  for (std::size_t i = 0; i < c.size(); ++i) single[i] = static_cast<float>(c[i]);
  return single;
}

}  // namespace anaphase::models
