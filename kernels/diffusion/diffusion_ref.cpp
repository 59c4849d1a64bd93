// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/diffusion.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/random/normal_ref.hpp"

namespace anaphase::kernels {

void run(Reference, const ForwardNoise& op) {
  const auto* x = static_cast<const double*>(op.x);
  const auto* alpha_bar = static_cast<const double*>(op.alpha_bar);
  auto* x_t = static_cast<double*>(op.x_t);
  auto* noise = static_cast<double*>(op.noise);
  for (int s = 0; s < op.n; ++s) {
    const double level = alpha_bar[op.t[s]];
    for (std::int64_t i = 0; i < op.per_sample; ++i) {
      const std::int64_t at = s * op.per_sample + i;
      const double z = reference_normal(op.keys[s], op.draw, i);
      x_t[at] = std::sqrt(level) * x[at] + std::sqrt(1 - level) * z;
      if (noise) noise[at] = z;
    }
  }
}

void run(Reference, const ForwardNoiseBackward& op) {
  const auto* alpha_bar = static_cast<const double*>(op.alpha_bar);
  const auto* dx_t = static_cast<const double*>(op.dx_t);
  auto* dx = static_cast<double*>(op.dx);
  for (int s = 0; s < op.n; ++s)
    for (std::int64_t i = s * op.per_sample; i < (s + 1) * op.per_sample; ++i)
      dx[i] = std::sqrt(alpha_bar[op.t[s]]) * dx_t[i];
}

void run(Reference, const PredictClean& op) {
  const auto* alpha_bar = static_cast<const double*>(op.alpha_bar);
  const auto* x_t = static_cast<const double*>(op.x_t);
  const auto* noise = static_cast<const double*>(op.noise);
  auto* x0 = static_cast<double*>(op.x0);
  for (int s = 0; s < op.n; ++s) {
    const double level = alpha_bar[op.t[s]];
    for (std::int64_t i = s * op.per_sample; i < (s + 1) * op.per_sample; ++i) {
      const double clean = (x_t[i] - std::sqrt(1 - level) * noise[i]) / std::sqrt(level);
      x0[i] = std::clamp<double>(clean, op.low, op.high);
    }
  }
}

void run(Reference, const ReverseStep& op) {
  using C = ReverseStepCoefficients;
  const auto* coefficient = static_cast<const double*>(op.coefficients) + *op.step * C::count;
  const auto* x_t = static_cast<const double*>(op.x_t);
  const auto* prediction = static_cast<const double*>(op.prediction);
  const auto* before = static_cast<const double*>(op.x0_before);
  auto* x_prev = static_cast<double*>(op.x_prev);
  auto* x0 = static_cast<double*>(op.x0);
  const std::uint32_t draw = op.draw + static_cast<std::uint32_t>(*op.step);
  for (int s = 0; s < op.n; ++s)
    for (std::int64_t i = 0; i < op.per_sample; ++i) {
      const std::int64_t at = s * op.per_sample + i;
      const double estimate =
          coefficient[C::x0_from_x] * x_t[at] + coefficient[C::x0_from_prediction] * prediction[at];
      const double clean = std::clamp<double>(estimate, op.low, op.high);
      double previous = coefficient[C::from_x0] * clean + coefficient[C::from_x] * x_t[at];
      if (before && coefficient[C::from_x0_before] != 0)
        previous += coefficient[C::from_x0_before] * before[at];
      if (coefficient[C::sigma] != 0)
        previous += coefficient[C::sigma] * reference_normal(op.keys[s], draw, i);
      x_prev[at] = previous;
      if (x0) x0[at] = clean;
    }
}

void run(Reference, const NextStep& op) {
  const std::int32_t t = op.timesteps[++*op.step];
  for (int i = 0; i < op.n; ++i) op.t[i] = t;
}

void run(Reference, const TimestepEmbedding& op) {
  auto* y = static_cast<double*>(op.y);
  const int half = op.channels / 2;
  for (int s = 0; s < op.n; ++s) {
    double* row = y + static_cast<std::int64_t>(s) * op.channels;
    if (op.channels % 2 != 0) row[op.channels - 1] = 0;
    for (int i = 0; i < half; ++i) {
      const double frequency = std::pow(10000.0, -static_cast<double>(i) / half);
      row[i] = std::sin(op.t[s] * frequency);
      row[half + i] = std::cos(op.t[s] * frequency);
    }
  }
}

}  // namespace anaphase::kernels
