// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm.hpp"

#include <cmath>

namespace anaphase::kernels {
namespace {

double activate(Activation activation, double slope, double u) {
  if (activation == Activation::none || u > 0) return u;
  return activation == Activation::leaky_relu ? slope * u : 0;
}

double activation_slope(Activation activation, double slope, double u) {
  if (activation == Activation::none || u > 0) return 1;
  return activation == Activation::leaky_relu ? slope : 0;
}

}  // namespace

void run(Reference, const BatchNormForward& op) {
  const auto* x = static_cast<const double*>(op.x);
  const auto* gamma = static_cast<const double*>(op.gamma);
  const auto* beta = static_cast<const double*>(op.beta);
  auto* running_mean = static_cast<double*>(op.running_mean);
  auto* running_variance = static_cast<double*>(op.running_variance);
  auto* y = static_cast<double*>(op.y);
  const auto rows = static_cast<double>(op.rows);
  for (int c = 0; c < op.channels; ++c) {
    double mean = 0, variance = 0;
    if (op.training) {
      for (std::int64_t r = 0; r < op.rows; ++r) mean += x[r * op.channels + c];
      mean /= rows;
      for (std::int64_t r = 0; r < op.rows; ++r) {
        const double deviation = x[r * op.channels + c] - mean;
        variance += deviation * deviation;
      }
      variance /= rows;
      const double unbiased = op.rows > 1 ? variance * rows / (rows - 1) : variance;
      const double momentum = op.momentum;
      running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean;
      running_variance[c] = (1 - momentum) * running_variance[c] + momentum * unbiased;
    } else {
      mean = running_mean[c];
      variance = running_variance[c];
    }
    const double rstd = 1 / std::sqrt(variance + static_cast<double>(op.epsilon));
    for (std::int64_t r = 0; r < op.rows; ++r) {
      const double z = (x[r * op.channels + c] - mean) * rstd * gamma[c] + beta[c];
      y[r * op.channels + c] = activate(op.activation, op.slope, z);
    }
    static_cast<double*>(op.mean)[c] = mean;
    static_cast<double*>(op.rstd)[c] = rstd;
  }
}

void run(Reference, const BatchNormBackward& op) {
  const auto* x = static_cast<const double*>(op.x);
  const auto* gamma = static_cast<const double*>(op.gamma);
  const auto* beta = static_cast<const double*>(op.beta);
  const auto* mean = static_cast<const double*>(op.mean);
  const auto* rstd = static_cast<const double*>(op.rstd);
  const auto* dy = static_cast<const double*>(op.dy);
  auto* dx = static_cast<double*>(op.dx);
  for (int c = 0; c < op.channels; ++c) {
    // Each element's normalised value and gradient at the activation's argument, by the chain rule.
    const auto for_each_row = [&](auto&& body) {
      for (std::int64_t r = 0; r < op.rows; ++r) {
        const std::int64_t i = r * op.channels + c;
        const double normal = (x[i] - mean[c]) * rstd[c];
        const double z = normal * gamma[c] + beta[c];
        body(i, normal, dy[i] * activation_slope(op.activation, op.slope, z));
      }
    };
    double dgamma = 0, dbeta = 0;
    for_each_row([&](std::int64_t, double normal, double dz) {
      dgamma += dz * normal;
      dbeta += dz;
    });
    const auto rows = static_cast<double>(op.rows);
    for_each_row([&](std::int64_t i, double normal, double dz) {
      const double centred = op.training ? dz - dbeta / rows - normal * dgamma / rows : dz;
      dx[i] = rstd[c] * gamma[c] * centred;
    });
    static_cast<double*>(op.dgamma)[c] = dgamma;
    static_cast<double*>(op.dbeta)[c] = dbeta;
  }
}

void run(Reference, const FoldBatchNorm& op) {
  const auto of = [](const void* parameter, int c) {
    return static_cast<const double*>(parameter)[c];
  };
  for (int c = 0; c < op.channels; ++c) {
    const double factor =
        of(op.gamma, c) / std::sqrt(of(op.variance, c) + static_cast<double>(op.epsilon));
    for (std::int64_t i = c * op.per_channel; i < (c + 1) * op.per_channel; ++i)
      static_cast<double*>(op.folded_weight)[i] = static_cast<const double*>(op.weight)[i] * factor;
    const double bias = op.bias ? of(op.bias, c) : 0;
    static_cast<double*>(op.folded_bias)[c] = (bias - of(op.mean, c)) * factor + of(op.beta, c);
  }
}

}  // namespace anaphase::kernels
