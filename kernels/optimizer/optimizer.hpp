// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

// The parameters of a network lie in one block of memory, and so do their gradients and the
// optimiser's state: one call updates them all. Everything here is of `type` f32 (f64 on the
// reference device). Numbers that change from step to step lie in device memory, so that a replayed
// program sees the new ones.

namespace anaphase::kernels {

/// What a step reads from `hyper`, in this order (param type).
struct Hyper {
  enum : int { learning_rate, bias_correction1, bias_correction2, count };
};

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101), g = *gradient_scale * gradient:
///   first = beta1 first + (1 - beta1) g;  second = beta2 second + (1 - beta2) g^2
///   parameter -= lr * ((first / bc1) / (sqrt(second / bc2) + epsilon) + weight_decay * parameter)
/// with bc_i = 1 - beta_i^step given in `hyper`. gradient_scale null: 1; where *gradient_scale is 0
/// the call changes nothing. Weight decay 0 gives Adam.
struct AdamW {
  std::int64_t count = 0;
  DType type = DType::f32;
  float beta1 = 0.9F, beta2 = 0.999F, epsilon = 1e-8F, weight_decay = 0;
  const void* hyper = nullptr;
  const void* gradient_scale = nullptr;
  const void* gradient = nullptr;
  void* parameter = nullptr;
  void* first = nullptr;
  void* second = nullptr;
};

/// SGD with momentum: velocity = momentum velocity + g + weight_decay parameter; parameter -= lr
/// velocity. gradient_scale as for AdamW.
struct Sgd {
  std::int64_t count = 0;
  DType type = DType::f32;
  float momentum = 0.9F, weight_decay = 0;
  const void* hyper = nullptr;
  const void* gradient_scale = nullptr;
  const void* gradient = nullptr;
  void* parameter = nullptr;
  void* velocity = nullptr;
};

/// norm = sqrt(sum gradient^2), scale = min(1, limit / norm) (1 when norm is 0; 0 when norm is not
/// finite, so that the optimiser skips an overflowed step); both one value. limit <= 0:
/// scale is 1 or 0 only.
struct GradientNorm {
  std::int64_t count = 0;
  DType type = DType::f32;
  float limit = 0;
  const void* gradient = nullptr;
  void* norm = nullptr;
  void* scale = nullptr;
  void* workspace = nullptr;
};

/// average = decay * average + (1 - decay) * source.
struct ExponentialAverage {
  std::int64_t count = 0;
  DType type = DType::f32;
  const void* decay = nullptr;  // one value, param type
  const void* source = nullptr;
  void* average = nullptr;
};

void run(Reference, const AdamW& op);
void run(Reference, const Sgd& op);
void run(Reference, const GradientNorm& op);
void run(Reference, const ExponentialAverage& op);

void run(Cpu, const AdamW& op);
void run(Cpu, const Sgd& op);
void run(Cpu, const GradientNorm& op);
void run(Cpu, const ExponentialAverage& op);
std::size_t workspace_bytes(Cpu, const GradientNorm& op);

void run(Cuda, const AdamW& op);
void run(Cuda, const Sgd& op);
void run(Cuda, const GradientNorm& op);
void run(Cuda, const ExponentialAverage& op);
std::size_t workspace_bytes(Cuda, const GradientNorm& op);

void run(Simt, const AdamW& op);
void run(Simt, const Sgd& op);
void run(Simt, const GradientNorm& op);
void run(Simt, const ExponentialAverage& op);
std::size_t workspace_bytes(Simt, const GradientNorm& op);

}  // namespace anaphase::kernels
