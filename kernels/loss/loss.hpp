// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

// Losses are one value of param type in device memory; `dloss`, likewise one value, is the gradient
// that arrives from above. Rows whose label is negative (ignore_label) take no part and get zero
// gradient.

namespace anaphase::kernels {

/// Soft Dice with squared denominators (Milletari et al., arXiv 1606.04797) on p = softmax(logits):
///   loss = 1 - mean over classes of (2 I_k + smooth) / (S_k + Y_k + smooth)
///   I_k = sum p_k [label = k],  S_k = sum p_k^2,  Y_k = sum [label = k],  sums over all rows
/// logits [rows, classes]; sums [3, classes] (param type: I, S, Y) are kept for the backward pass.
struct DiceForward {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  float smooth = 1;
  const void* logits = nullptr;
  const std::int32_t* labels = nullptr;
  void* loss = nullptr;
  void* sums = nullptr;
  void* workspace = nullptr;
};

struct DiceBackward {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  float smooth = 1;
  const void* logits = nullptr;
  const std::int32_t* labels = nullptr;
  const void* sums = nullptr;
  const void* dloss = nullptr;
  void* dlogits = nullptr;
};

/// loss = mean over the rows that count of -log softmax(logits)[label]; 0 when no row counts.
/// counted (one value of param type) is the number of rows that count, kept for the backward pass.
struct CrossEntropyForward {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  const void* logits = nullptr;
  const std::int32_t* labels = nullptr;
  void* loss = nullptr;
  void* counted = nullptr;
  void* workspace = nullptr;
};

struct CrossEntropyBackward {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  const void* logits = nullptr;
  const std::int32_t* labels = nullptr;
  const void* counted = nullptr;
  const void* dloss = nullptr;
  void* dlogits = nullptr;
};

/// loss = 1/n sum over samples of weight[s] * mean((prediction - target)^2), weight [n] (param
/// type) or null (all 1); prediction, target [n, per_sample].
struct MeanSquaredErrorForward {
  int n = 1;
  std::int64_t per_sample = 0;
  DType type = DType::f32;
  const void* prediction = nullptr;
  const void* target = nullptr;
  const void* weight = nullptr;
  void* loss = nullptr;
  void* workspace = nullptr;
};

/// The gradient for the prediction; the target gets none.
struct MeanSquaredErrorBackward {
  int n = 1;
  std::int64_t per_sample = 0;
  DType type = DType::f32;
  const void* prediction = nullptr;
  const void* target = nullptr;
  const void* weight = nullptr;
  const void* dloss = nullptr;
  void* dprediction = nullptr;
};

/// How a batch uses its classes, p = softmax(logits), logits [rows, classes]:
///   use[k] = mean over rows of p_k;  entropy = mean over rows of -sum p_k log p_k
///   loss = KL(use || prior) = sum use_k log(use_k / prior_k), prior [classes] > 0 (param type)
/// use [classes], entropy [1], loss [1]: param type.
struct ClassUseForward {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  const void* logits = nullptr;
  const void* prior = nullptr;
  void* loss = nullptr;
  void* use = nullptr;
  void* entropy = nullptr;
  void* workspace = nullptr;
};

/// Gradient of the KL loss (dloss) and of the entropy (dentropy); either may be null (zero).
struct ClassUseBackward {
  std::int64_t rows = 0;
  int classes = 0;
  DType type = DType::f32;
  const void* logits = nullptr;
  const void* prior = nullptr;
  const void* use = nullptr;
  const void* dloss = nullptr;
  const void* dentropy = nullptr;
  void* dlogits = nullptr;
};

void run(Reference, const DiceForward& op);
void run(Reference, const DiceBackward& op);
void run(Reference, const CrossEntropyForward& op);
void run(Reference, const CrossEntropyBackward& op);
void run(Reference, const MeanSquaredErrorForward& op);
void run(Reference, const MeanSquaredErrorBackward& op);
void run(Reference, const ClassUseForward& op);
void run(Reference, const ClassUseBackward& op);

void run(Cpu, const DiceForward& op);
void run(Cpu, const DiceBackward& op);
void run(Cpu, const CrossEntropyForward& op);
void run(Cpu, const CrossEntropyBackward& op);
void run(Cpu, const MeanSquaredErrorForward& op);
void run(Cpu, const MeanSquaredErrorBackward& op);
void run(Cpu, const ClassUseForward& op);
void run(Cpu, const ClassUseBackward& op);
std::size_t workspace_bytes(Cpu, const DiceForward& op);
std::size_t workspace_bytes(Cpu, const CrossEntropyForward& op);
std::size_t workspace_bytes(Cpu, const MeanSquaredErrorForward& op);
std::size_t workspace_bytes(Cpu, const ClassUseForward& op);

void run(Cuda, const DiceForward& op);
void run(Cuda, const DiceBackward& op);
void run(Cuda, const CrossEntropyForward& op);
void run(Cuda, const CrossEntropyBackward& op);
void run(Cuda, const MeanSquaredErrorForward& op);
void run(Cuda, const MeanSquaredErrorBackward& op);
void run(Cuda, const ClassUseForward& op);
void run(Cuda, const ClassUseBackward& op);
std::size_t workspace_bytes(Cuda, const DiceForward& op);
std::size_t workspace_bytes(Cuda, const CrossEntropyForward& op);
std::size_t workspace_bytes(Cuda, const MeanSquaredErrorForward& op);
std::size_t workspace_bytes(Cuda, const ClassUseForward& op);

void run(Simt, const DiceForward& op);
void run(Simt, const DiceBackward& op);
void run(Simt, const CrossEntropyForward& op);
void run(Simt, const CrossEntropyBackward& op);
void run(Simt, const MeanSquaredErrorForward& op);
void run(Simt, const MeanSquaredErrorBackward& op);
void run(Simt, const ClassUseForward& op);
void run(Simt, const ClassUseBackward& op);
std::size_t workspace_bytes(Simt, const DiceForward& op);
std::size_t workspace_bytes(Simt, const CrossEntropyForward& op);
std::size_t workspace_bytes(Simt, const MeanSquaredErrorForward& op);
std::size_t workspace_bytes(Simt, const ClassUseForward& op);

}  // namespace anaphase::kernels
