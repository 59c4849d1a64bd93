// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation/activation.hpp"

#include <cmath>
#include <numbers>

namespace anaphase::kernels {
namespace {

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

double normal_density(double x) {
  return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
}

double normal_distribution(double x) {
  return std::erfc(-x / std::numbers::sqrt2) / 2;
}

double value(Activation activation, double slope, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::leaky_relu:
      return x > 0 ? x : slope * x;
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::gelu:
      return x * normal_distribution(x);
  }
  return NAN;
}

double derivative(Activation activation, double slope, double x) {
  switch (activation) {
    case Activation::none:
      return 1;
    case Activation::relu:
      return x > 0 ? 1 : 0;
    case Activation::leaky_relu:
      return x > 0 ? 1 : slope;
    case Activation::silu:
      return sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x));
    case Activation::gelu:
      return normal_distribution(x) + x * normal_density(x);
  }
  return NAN;
}

}  // namespace

void run(Reference, const ActivationForward& op) {
  const auto* x = static_cast<const double*>(op.x);
  auto* y = static_cast<double*>(op.y);
  for (std::int64_t i = 0; i < op.count; ++i) y[i] = value(op.activation, op.slope, x[i]);
}

void run(Reference, const ActivationBackward& op) {
  const auto* x = static_cast<const double*>(op.x);
  const auto* dy = static_cast<const double*>(op.dy);
  auto* dx = static_cast<double*>(op.dx);
  for (std::int64_t i = 0; i < op.count; ++i)
    dx[i] = dy[i] * derivative(op.activation, op.slope, x[i]);
}

}  // namespace anaphase::kernels
