// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/loss.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace anaphase::kernels {
namespace {

std::vector<double> softmax(const void* logits, std::int64_t row, int classes) {
  const auto* x = static_cast<const double*>(logits) + row * classes;
  const double largest = *std::max_element(x, x + classes);
  std::vector<double> p(classes);
  double sum = 0;
  for (int k = 0; k < classes; ++k) sum += p[k] = std::exp(x[k] - largest);
  for (double& value : p) value /= sum;
  return p;
}

/// log softmax(x)[k], finite where the probability itself is too small for a number.
double log_probability(const void* logits, std::int64_t row, int classes, int k) {
  const auto* x = static_cast<const double*>(logits) + row * classes;
  const double largest = *std::max_element(x, x + classes);
  double sum = 0;
  for (int j = 0; j < classes; ++j) sum += std::exp(x[j] - largest);
  return x[k] - largest - std::log(sum);
}

/// The gradient for the logits from that for the probabilities: p_k (g_k - sum g p).
void softmax_gradient(const std::vector<double>& p, const std::vector<double>& gradient,
                      double* dlogits) {
  double dot = 0;
  for (std::size_t k = 0; k < p.size(); ++k) dot += gradient[k] * p[k];
  for (std::size_t k = 0; k < p.size(); ++k) dlogits[k] = p[k] * (gradient[k] - dot);
}

double value_at(const void* pointer) {
  return *static_cast<const double*>(pointer);
}

double& value_at(void* pointer) {
  return *static_cast<double*>(pointer);
}

}  // namespace

void run(Reference, const DiceForward& op) {
  auto* both = static_cast<double*>(op.sums);
  double *squares = both + op.classes, *labelled = squares + op.classes;
  std::fill_n(both, 3 * op.classes, 0.0);
  for (std::int64_t r = 0; r < op.rows; ++r) {
    if (op.labels[r] < 0) continue;
    const auto p = softmax(op.logits, r, op.classes);
    for (int k = 0; k < op.classes; ++k) squares[k] += p[k] * p[k];
    both[op.labels[r]] += p[op.labels[r]];
    labelled[op.labels[r]] += 1;
  }
  double loss = 1;
  for (int k = 0; k < op.classes; ++k)
    loss -= (2 * both[k] + op.smooth) / (squares[k] + labelled[k] + op.smooth) / op.classes;
  value_at(op.loss) = loss;
}

void run(Reference, const DiceBackward& op) {
  const auto* both = static_cast<const double*>(op.sums);
  const double *squares = both + op.classes, *labelled = squares + op.classes;
  for (std::int64_t r = 0; r < op.rows; ++r) {
    auto* dlogits = static_cast<double*>(op.dlogits) + r * op.classes;
    const auto p = softmax(op.logits, r, op.classes);
    std::vector<double> gradient(op.classes);
    for (int k = 0; k < op.classes; ++k) {
      const double numerator = 2 * both[k] + op.smooth;
      const double denominator = squares[k] + labelled[k] + op.smooth;
      const double dnumerator = op.labels[r] == k ? 2 : 0, ddenominator = 2 * p[k];
      gradient[k] = -value_at(op.dloss) / op.classes *
                    (dnumerator * denominator - numerator * ddenominator) /
                    (denominator * denominator);
    }
    softmax_gradient(p, gradient, dlogits);
    if (op.labels[r] < 0) std::fill_n(dlogits, op.classes, 0.0);
  }
}

void run(Reference, const CrossEntropyForward& op) {
  double sum = 0, counted = 0;
  for (std::int64_t r = 0; r < op.rows; ++r) {
    if (op.labels[r] < 0) continue;
    sum -= log_probability(op.logits, r, op.classes, op.labels[r]);
    counted += 1;
  }
  value_at(op.loss) = counted > 0 ? sum / counted : 0;
  value_at(op.counted) = counted;
}

void run(Reference, const CrossEntropyBackward& op) {
  for (std::int64_t r = 0; r < op.rows; ++r) {
    auto* dlogits = static_cast<double*>(op.dlogits) + r * op.classes;
    const auto p = softmax(op.logits, r, op.classes);
    for (int k = 0; k < op.classes; ++k) {
      const double truth = op.labels[r] == k ? 1 : 0;
      dlogits[k] =
          op.labels[r] < 0 ? 0 : value_at(op.dloss) / value_at(op.counted) * (p[k] - truth);
    }
  }
}

void run(Reference, const MeanSquaredErrorForward& op) {
  const auto* prediction = static_cast<const double*>(op.prediction);
  const auto* target = static_cast<const double*>(op.target);
  const auto* weight = static_cast<const double*>(op.weight);
  double loss = 0;
  for (int s = 0; s < op.n; ++s) {
    double sum = 0;
    for (std::int64_t i = s * op.per_sample; i < (s + 1) * op.per_sample; ++i)
      sum += (prediction[i] - target[i]) * (prediction[i] - target[i]);
    loss += (weight ? weight[s] : 1) * sum / static_cast<double>(op.per_sample) / op.n;
  }
  value_at(op.loss) = loss;
}

void run(Reference, const MeanSquaredErrorBackward& op) {
  const auto* prediction = static_cast<const double*>(op.prediction);
  const auto* target = static_cast<const double*>(op.target);
  const auto* weight = static_cast<const double*>(op.weight);
  auto* dprediction = static_cast<double*>(op.dprediction);
  for (int s = 0; s < op.n; ++s)
    for (std::int64_t i = s * op.per_sample; i < (s + 1) * op.per_sample; ++i)
      dprediction[i] = value_at(op.dloss) * (weight ? weight[s] : 1) * 2 *
                       (prediction[i] - target[i]) / static_cast<double>(op.per_sample) / op.n;
}

void run(Reference, const ClassUseForward& op) {
  const auto* prior = static_cast<const double*>(op.prior);
  auto* use = static_cast<double*>(op.use);
  std::fill_n(use, op.classes, 0.0);
  double entropy = 0;
  for (std::int64_t r = 0; r < op.rows; ++r) {
    const auto p = softmax(op.logits, r, op.classes);
    for (int k = 0; k < op.classes; ++k) {
      use[k] += p[k] / static_cast<double>(op.rows);
      if (p[k] > 0) entropy -= p[k] * log_probability(op.logits, r, op.classes, k);
    }
  }
  double loss = 0;
  for (int k = 0; k < op.classes; ++k)
    if (use[k] > 0) loss += use[k] * std::log(use[k] / prior[k]);
  value_at(op.loss) = loss;
  value_at(op.entropy) = entropy / static_cast<double>(op.rows);
}

void run(Reference, const ClassUseBackward& op) {
  const auto* prior = static_cast<const double*>(op.prior);
  const auto* use = static_cast<const double*>(op.use);
  const double dloss = op.dloss ? value_at(op.dloss) : 0;
  const double dentropy = op.dentropy ? value_at(op.dentropy) : 0;
  for (std::int64_t r = 0; r < op.rows; ++r) {
    const auto p = softmax(op.logits, r, op.classes);
    std::vector<double> gradient(op.classes);
    for (int k = 0; k < op.classes; ++k) {
      if (p[k] == 0) continue;  // its logit has no gradient either way
      const double of_loss = std::log(use[k] / prior[k]) + 1;
      const double of_entropy = -(log_probability(op.logits, r, op.classes, k) + 1);
      gradient[k] = (dloss * of_loss + dentropy * of_entropy) / static_cast<double>(op.rows);
    }
    softmax_gradient(p, gradient, static_cast<double*>(op.dlogits) + r * op.classes);
  }
}

}  // namespace anaphase::kernels
