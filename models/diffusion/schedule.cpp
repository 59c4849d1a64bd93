// SPDX-License-Identifier: Apache-2.0
#include "models/diffusion/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/common/error.hpp"

namespace anaphase::models {
namespace {

constexpr double largest_beta = 0.999;

double cosine_level(double u) {
  const double c = std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2);
  return c * c;
}

double sigmoid_level(double u) {
  constexpr double start = -3, end = 3;
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  return (sigmoid(end) - sigmoid(u * (end - start) + start)) / (sigmoid(end) - sigmoid(start));
}

/// beta_t of a curve of signal levels over u in [0, 1].
std::vector<double> betas_of(double (*level)(double), int steps) {
  std::vector<double> betas(steps);
  for (int t = 0; t < steps; ++t)
    betas[t] = 1 - level((t + 1.0) / steps) / level(static_cast<double>(t) / steps);
  return betas;
}

std::vector<double> linear_betas(int steps) {
  const double scale = 1000.0 / steps, first = scale * 1e-4, last = scale * 0.02;
  std::vector<double> betas(steps);
  for (int t = 0; t < steps; ++t) betas[t] = first + (last - first) * t / std::max(steps - 1, 1);
  return betas;
}

}  // namespace

std::vector<double> alpha_bar(const std::string& schedule, int steps) {
  std::vector<double> betas;
  if (schedule == "linear")
    betas = linear_betas(steps);
  else if (schedule == "cosine")
    betas = betas_of(cosine_level, steps);
  else if (schedule == "sigmoid")
    betas = betas_of(sigmoid_level, steps);
  else
    throw Error(
        fmt::format("unknown noise schedule '{}': use sigmoid, linear or cosine", schedule));

  std::vector<double> levels(steps);
  double level = 1;
  for (int t = 0; t < steps; ++t) levels[t] = level *= 1 - std::clamp(betas[t], 0.0, largest_beta);
  return levels;
}

}  // namespace anaphase::models
