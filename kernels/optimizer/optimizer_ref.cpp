// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/optimizer.hpp"

#include <algorithm>
#include <cmath>

namespace anaphase::kernels {
namespace {

double one_unless_given(const void* scale) {
  return scale ? *static_cast<const double*>(scale) : 1;
}

}  // namespace

void run(Reference, const AdamW& op) {
  const auto* hyper = static_cast<const double*>(op.hyper);
  const double rate = hyper[Hyper::learning_rate];
  const double correction1 = hyper[Hyper::bias_correction1];
  const double correction2 = hyper[Hyper::bias_correction2];
  const double beta1 = op.beta1, beta2 = op.beta2, epsilon = op.epsilon, decay = op.weight_decay;
  const double scale = one_unless_given(op.gradient_scale);
  const auto* gradient = static_cast<const double*>(op.gradient);
  auto* parameter = static_cast<double*>(op.parameter);
  auto* first = static_cast<double*>(op.first);
  auto* second = static_cast<double*>(op.second);
  if (scale == 0) return;
  for (std::int64_t i = 0; i < op.count; ++i) {
    const double g = scale * gradient[i];
    first[i] = beta1 * first[i] + (1 - beta1) * g;
    second[i] = beta2 * second[i] + (1 - beta2) * g * g;
    const double step = (first[i] / correction1) / (std::sqrt(second[i] / correction2) + epsilon);
    parameter[i] -= rate * (step + decay * parameter[i]);
  }
}

void run(Reference, const Sgd& op) {
  const double rate = static_cast<const double*>(op.hyper)[Hyper::learning_rate];
  const double momentum = op.momentum, decay = op.weight_decay;
  const double scale = one_unless_given(op.gradient_scale);
  const auto* gradient = static_cast<const double*>(op.gradient);
  auto* parameter = static_cast<double*>(op.parameter);
  auto* velocity = static_cast<double*>(op.velocity);
  if (scale == 0) return;
  for (std::int64_t i = 0; i < op.count; ++i) {
    velocity[i] = momentum * velocity[i] + scale * gradient[i] + decay * parameter[i];
    parameter[i] -= rate * velocity[i];
  }
}

void run(Reference, const GradientNorm& op) {
  const auto* gradient = static_cast<const double*>(op.gradient);
  double sum = 0;
  for (std::int64_t i = 0; i < op.count; ++i) sum += gradient[i] * gradient[i];
  const double norm = std::sqrt(sum);
  double scale = 1;
  if (op.limit > 0 && norm > 0) scale = std::min(1.0, op.limit / norm);
  if (!std::isfinite(norm)) scale = 0;
  *static_cast<double*>(op.norm) = norm;
  *static_cast<double*>(op.scale) = scale;
}

void run(Reference, const ExponentialAverage& op) {
  const double decay = *static_cast<const double*>(op.decay);
  const auto* source = static_cast<const double*>(op.source);
  auto* average = static_cast<double*>(op.average);
  for (std::int64_t i = 0; i < op.count; ++i)
    average[i] = decay * average[i] + (1 - decay) * source[i];
}

}  // namespace anaphase::kernels
