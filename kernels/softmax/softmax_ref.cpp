// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax.hpp"

#include <algorithm>
#include <cmath>

namespace anaphase::kernels {
namespace {

/// The sum of e^(x_k - largest) of a row.
double sum_of_exponentials(const double* row, int classes) {
  const double largest = *std::max_element(row, row + classes);
  double sum = 0;
  for (int k = 0; k < classes; ++k) sum += std::exp(row[k] - largest);
  return sum;
}

}  // namespace

void run(Reference, const SoftmaxForward& op) {
  for (std::int64_t r = 0; r < op.rows; ++r) {
    const auto* x = static_cast<const double*>(op.x) + r * op.classes;
    auto* y = static_cast<double*>(op.y) + r * op.classes;
    const double largest = *std::max_element(x, x + op.classes);
    const double sum = sum_of_exponentials(x, op.classes);
    for (int k = 0; k < op.classes; ++k)
      y[k] = op.gain * std::exp(x[k] - largest) / sum + op.offset;
  }
}

void run(Reference, const SoftmaxBackward& op) {
  for (std::int64_t r = 0; r < op.rows; ++r) {
    const auto* y = static_cast<const double*>(op.y) + r * op.classes;
    const auto* dy = static_cast<const double*>(op.dy) + r * op.classes;
    auto* dx = static_cast<double*>(op.dx) + r * op.classes;
    const auto p = [&](int k) { return (y[k] - op.offset) / op.gain; };
    double dot = 0;
    for (int k = 0; k < op.classes; ++k) dot += p(k) * dy[k];
    for (int k = 0; k < op.classes; ++k) dx[k] = op.gain * p(k) * (dy[k] - dot);
  }
}

void run(Reference, const Argmax& op) {
  for (std::int64_t r = 0; r < op.rows; ++r) {
    const auto* x = static_cast<const double*>(op.x) + r * op.classes;
    const auto best = std::max_element(x, x + op.classes) - x;
    const double largest = op.probabilities ? x[best] : 1 / sum_of_exponentials(x, op.classes);
    op.labels[r] = largest < op.confidence ? ignore_label : static_cast<std::int32_t>(best);
  }
}

void run(Reference, const OneHot& op) {
  auto* y = static_cast<double*>(op.y);
  for (std::int64_t r = 0; r < op.rows; ++r)
    for (int k = 0; k < op.classes; ++k) y[r * op.classes + k] = op.labels[r] == k ? op.on : op.off;
}

}  // namespace anaphase::kernels
