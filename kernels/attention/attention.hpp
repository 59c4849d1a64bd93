// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// Sizes of multi-head self-attention over the tokens (pixels) of each sample.
struct AttentionShape {
  int n = 1, tokens = 1, heads = 1, head_dim = 1;
  bool operator==(const AttentionShape&) const = default;
};

/// y = softmax(q k^T / sqrt(head_dim)) v, per sample and head.
///   qkv [n, tokens, 3, heads, head_dim], y [n, tokens, heads, head_dim];
///   log_sum_exp [n, heads, tokens] (param type), the row-wise log of the sum of exp(scores), is
///   kept for the backward pass. No tokens x tokens matrix is held for more than a block of rows.
struct AttentionForward {
  AttentionShape shape;
  DType type = DType::f32;
  const void* qkv = nullptr;
  void* y = nullptr;
  void* log_sum_exp = nullptr;
  void* workspace = nullptr;
};

/// dqkv from dy; probabilities are recomputed from log_sum_exp.
struct AttentionBackward {
  AttentionShape shape;
  DType type = DType::f32;
  const void* qkv = nullptr;
  const void* y = nullptr;
  const void* log_sum_exp = nullptr;
  const void* dy = nullptr;
  void* dqkv = nullptr;
  void* workspace = nullptr;
};

void run(Reference, const AttentionForward& op);
void run(Reference, const AttentionBackward& op);

void run(Cpu, const AttentionForward& op);
void run(Cpu, const AttentionBackward& op);
std::size_t workspace_bytes(Cpu, const AttentionForward& op);
std::size_t workspace_bytes(Cpu, const AttentionBackward& op);

void run(Cuda, const AttentionForward& op);
void run(Cuda, const AttentionBackward& op);
std::size_t workspace_bytes(Cuda, const AttentionBackward& op);

void run(Simt, const AttentionForward& op);
void run(Simt, const AttentionBackward& op);
std::size_t workspace_bytes(Simt, const AttentionBackward& op);

/// Multiplications and additions of the matrix products: two forward, five backward (one
/// recomputed).
inline double flop_count(const AttentionShape& s) {
  return 2.0 * s.n * s.heads * s.tokens * static_cast<double>(s.tokens) * s.head_dim;
}
inline double flop_count(const AttentionForward& op) {
  return 2 * flop_count(op.shape);
}
inline double flop_count(const AttentionBackward& op) {
  return 5 * flop_count(op.shape);
}

}  // namespace anaphase::kernels
