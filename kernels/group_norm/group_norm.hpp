// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// x [n, pixels, channels]; a group is channels / groups neighbouring channels of one sample.
struct GroupNormShape {
  int n = 1;
  std::int64_t pixels = 1;
  int channels = 1, groups = 1;
  bool operator==(const GroupNormShape&) const = default;
};

/// Group normalisation (Wu and He, arXiv 1803.08494), with the two steps that follow it in a U-Net
/// block:
///   z = (x - mean) * rstd * gamma + beta,  rstd = 1 / sqrt(variance + epsilon), variance biased
///   y = activation(z * (1 + scale) + shift)          scale, shift: one value per sample and
///   channel
/// gamma, beta [channels] (param type); scale_shift [n, 2, channels] of `type` or null (scale =
/// shift = 0); mean, rstd [n, groups] (param type) are kept for the backward pass. y may be x
/// itself. `activation` is none or silu. Statistics are two-pass or shifted: no E[x^2] - E[x]^2.
struct GroupNormForward {
  GroupNormShape shape;
  DType type = DType::f32;
  float epsilon = 1e-5F;
  const void* x = nullptr;
  const void* gamma = nullptr;
  const void* beta = nullptr;
  const void* scale_shift = nullptr;
  Activation activation = Activation::none;
  void* y = nullptr;
  void* mean = nullptr;
  void* rstd = nullptr;
  void* workspace = nullptr;
};

/// dx, dgamma, dbeta (param type) and dscale_shift (of `type`, null exactly when scale_shift is
/// null). The normalised value and the activation's argument are recomputed from x. dx may be dy
/// itself.
struct GroupNormBackward {
  GroupNormShape shape;
  DType type = DType::f32;
  const void* x = nullptr;
  const void* gamma = nullptr;
  const void* beta = nullptr;
  const void* scale_shift = nullptr;
  Activation activation = Activation::none;
  const void* mean = nullptr;
  const void* rstd = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  void* dgamma = nullptr;
  void* dbeta = nullptr;
  void* dscale_shift = nullptr;
  void* workspace = nullptr;
};

void run(Reference, const GroupNormForward& op);
void run(Reference, const GroupNormBackward& op);

void run(Cpu, const GroupNormForward& op);
void run(Cpu, const GroupNormBackward& op);
std::size_t workspace_bytes(Cpu, const GroupNormForward& op);
std::size_t workspace_bytes(Cpu, const GroupNormBackward& op);

void run(Cuda, const GroupNormForward& op);
void run(Cuda, const GroupNormBackward& op);
std::size_t workspace_bytes(Cuda, const GroupNormForward& op);
std::size_t workspace_bytes(Cuda, const GroupNormBackward& op);

void run(Simt, const GroupNormForward& op);
void run(Simt, const GroupNormBackward& op);
std::size_t workspace_bytes(Simt, const GroupNormForward& op);
std::size_t workspace_bytes(Simt, const GroupNormBackward& op);

}  // namespace anaphase::kernels
