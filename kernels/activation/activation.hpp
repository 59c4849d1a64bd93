// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// y = activation(x), element by element. y may be x itself.
struct ActivationForward {
  std::int64_t count = 0;
  DType type = DType::f32;
  Activation activation = Activation::silu;
  float slope = 0.01F;  // of leaky_relu
  const void* x = nullptr;
  void* y = nullptr;
};

/// dx = dy * activation'(x). The derivative of relu and leaky_relu at 0 is that of the left side,
/// so that for them `x` may also be the activation's result (slope > 0). dx may be dy itself.
struct ActivationBackward {
  std::int64_t count = 0;
  DType type = DType::f32;
  Activation activation = Activation::silu;
  float slope = 0.01F;
  const void* x = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
};

void run(Reference, const ActivationForward& op);
void run(Reference, const ActivationBackward& op);

void run(Cpu, const ActivationForward& op);
void run(Cpu, const ActivationBackward& op);

void run(Cuda, const ActivationForward& op);
void run(Cuda, const ActivationBackward& op);

void run(Simt, const ActivationForward& op);
void run(Simt, const ActivationBackward& op);

}  // namespace anaphase::kernels
