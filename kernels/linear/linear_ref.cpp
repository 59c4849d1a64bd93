// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation/activation.hpp"
#include "kernels/linear/linear.hpp"

namespace anaphase::kernels {

void run(Reference, const LinearForward& op) {
  const auto* x = static_cast<const double*>(op.x);
  const auto* weight = static_cast<const double*>(op.weight);
  const auto* bias = static_cast<const double*>(op.bias);
  const auto* residual = static_cast<const double*>(op.residual);
  auto* y = static_cast<double*>(op.y);
  for (std::int64_t r = 0; r < op.rows; ++r)
    for (int o = 0; o < op.out; ++o) {
      double sum = (bias ? bias[o] : 0) + (residual ? residual[r * op.out + o] : 0);
      for (int i = 0; i < op.in; ++i) sum += x[r * op.in + i] * weight[std::int64_t{o} * op.in + i];
      y[r * op.out + o] = sum;
    }
  run(Reference{}, ActivationForward{.count = op.rows * op.out,
                                     .type = DType::f64,
                                     .activation = op.activation,
                                     .slope = op.slope,
                                     .x = y,
                                     .y = y});
}

void run(Reference, const LinearInputGradient& op) {
  const auto* dy = static_cast<const double*>(op.dy);
  const auto* weight = static_cast<const double*>(op.weight);
  auto* dx = static_cast<double*>(op.dx);
  for (std::int64_t r = 0; r < op.rows; ++r)
    for (int i = 0; i < op.in; ++i) {
      double sum = 0;
      for (int o = 0; o < op.out; ++o)
        sum += dy[r * op.out + o] * weight[std::int64_t{o} * op.in + i];
      dx[r * op.in + i] = sum;
    }
}

void run(Reference, const LinearWeightGradient& op) {
  const auto* x = static_cast<const double*>(op.x);
  const auto* dy = static_cast<const double*>(op.dy);
  auto* dweight = static_cast<double*>(op.dweight);
  auto* dbias = static_cast<double*>(op.dbias);
  for (int o = 0; o < op.out; ++o) {
    for (int i = 0; i < op.in; ++i) {
      double sum = 0;
      for (std::int64_t r = 0; r < op.rows; ++r) sum += dy[r * op.out + o] * x[r * op.in + i];
      dweight[std::int64_t{o} * op.in + i] = sum;
    }
    if (!dbias) continue;
    dbias[o] = 0;
    for (std::int64_t r = 0; r < op.rows; ++r) dbias[o] += dy[r * op.out + o];
  }
}

}  // namespace anaphase::kernels
