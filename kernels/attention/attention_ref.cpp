// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/attention/attention.hpp"

namespace anaphase::kernels {
namespace {

/// Index of (sample n, token t, head h, channel 0) in a [n, tokens, heads, head_dim] tensor, or,
/// for part 0 (q), 1 (k) or 2 (v), in qkv [n, tokens, 3, heads, head_dim].
std::int64_t at(const AttentionShape& s, int n, int t, int h) {
  return ((std::int64_t{n} * s.tokens + t) * s.heads + h) * s.head_dim;
}

std::int64_t at(const AttentionShape& s, int part, int n, int t, int h) {
  return (((std::int64_t{n} * s.tokens + t) * 3 + part) * s.heads + h) * s.head_dim;
}

double dot(const double* a, const double* b, int count) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

template <class Visit>
void for_each_row(const AttentionShape& s, Visit&& visit) {
  for (int n = 0; n < s.n; ++n)
    for (int h = 0; h < s.heads; ++h)
      for (int i = 0; i < s.tokens; ++i) visit(n, h, i);
}

}  // namespace

void run(Reference, const AttentionForward& op) {
  const AttentionShape& s = op.shape;
  const auto* qkv = static_cast<const double*>(op.qkv);
  auto* y = static_cast<double*>(op.y);
  auto* log_sum_exp = static_cast<double*>(op.log_sum_exp);
  std::vector<double> score(s.tokens);
  for_each_row(s, [&](int n, int h, int i) {
    for (int j = 0; j < s.tokens; ++j)
      score[j] =
          dot(qkv + at(s, 0, n, i, h), qkv + at(s, 1, n, j, h), s.head_dim) / std::sqrt(s.head_dim);
    const double largest = *std::max_element(score.begin(), score.end());
    double sum = 0;
    for (const double value : score) sum += std::exp(value - largest);
    for (int d = 0; d < s.head_dim; ++d) {
      double weighted = 0;
      for (int j = 0; j < s.tokens; ++j)
        weighted += std::exp(score[j] - largest) / sum * qkv[at(s, 2, n, j, h) + d];
      y[at(s, n, i, h) + d] = weighted;
    }
    log_sum_exp[(std::int64_t{n} * s.heads + h) * s.tokens + i] = largest + std::log(sum);
  });
}

// With p = softmax of a row of scores: dv_j = sum_i p_ij dy_i; dp_ij = dy_i . v_j;
// dscore_ij = p_ij (dp_ij - sum_k p_ik dp_ik), and sum_k p_ik dp_ik = dy_i . y_i.
void run(Reference, const AttentionBackward& op) {
  const AttentionShape& s = op.shape;
  const auto* qkv = static_cast<const double*>(op.qkv);
  const auto* y = static_cast<const double*>(op.y);
  const auto* log_sum_exp = static_cast<const double*>(op.log_sum_exp);
  const auto* dy = static_cast<const double*>(op.dy);
  auto* dqkv = static_cast<double*>(op.dqkv);
  const double scale = 1 / std::sqrt(s.head_dim);
  std::fill_n(dqkv, std::int64_t{3} * s.n * s.tokens * s.heads * s.head_dim, 0.0);
  for_each_row(s, [&](int n, int h, int i) {
    const std::int64_t row = at(s, n, i, h), q = at(s, 0, n, i, h);
    const double mean = dot(dy + row, y + row, s.head_dim);
    for (int j = 0; j < s.tokens; ++j) {
      const std::int64_t k = at(s, 1, n, j, h), v = at(s, 2, n, j, h);
      const double score = dot(qkv + q, qkv + k, s.head_dim) * scale;
      const double p =
          std::exp(score - log_sum_exp[(std::int64_t{n} * s.heads + h) * s.tokens + i]);
      const double dscore = p * (dot(dy + row, qkv + v, s.head_dim) - mean);
      for (int d = 0; d < s.head_dim; ++d) {
        dqkv[q + d] += dscore * scale * qkv[k + d];
        dqkv[k + d] += dscore * scale * qkv[q + d];
        dqkv[v + d] += p * dy[row + d];
      }
    }
  });
}

}  // namespace anaphase::kernels
