// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// Batch normalisation (Ioffe and Szegedy, arXiv 1502.03167) over all rows (samples and pixels),
/// with the activation that follows it: y = activation((x - mean) * rstd * gamma + beta), x and y
/// [rows, channels].
///   training: mean and rstd [channels] (param type) are computed from x (biased variance), kept
///   for the
///     backward pass, and running = (1 - momentum) * running + momentum * batch, the running
///     variance taking the unbiased batch variance (rows > 1), as PyTorch does;
///   otherwise: mean and rstd are filled from running_mean and running_variance, which stay as they
///   are.
/// `activation` is none, relu or leaky_relu. y may be x itself when no backward pass follows.
struct BatchNormForward {
  std::int64_t rows = 0;
  int channels = 0;
  DType type = DType::f32;
  float epsilon = 1e-5F;
  float momentum = 0.1F;
  bool training = true;
  const void* x = nullptr;
  const void* gamma = nullptr;
  const void* beta = nullptr;
  void* running_mean = nullptr;      // [channels], param type, read and, in training, written
  void* running_variance = nullptr;  // [channels], param type, read and, in training, written
  Activation activation = Activation::none;
  float slope = 0.01F;  // of leaky_relu
  void* y = nullptr;
  void* mean = nullptr;
  void* rstd = nullptr;
  void* workspace = nullptr;
};

/// dx (of `type`), dgamma and dbeta (param type) of the training form, or with `training` false of
/// the affine map with constant statistics. The activation's argument is recomputed from x. dx may
/// be dy.
struct BatchNormBackward {
  std::int64_t rows = 0;
  int channels = 0;
  DType type = DType::f32;
  bool training = true;
  const void* x = nullptr;
  const void* gamma = nullptr;
  const void* beta = nullptr;
  const void* mean = nullptr;
  const void* rstd = nullptr;
  Activation activation = Activation::none;
  float slope = 0.01F;
  const void* dy = nullptr;
  void* dx = nullptr;
  void* dgamma = nullptr;
  void* dbeta = nullptr;
  void* workspace = nullptr;
};

/// The convolution (or linear layer) that does what one does with the batch norm of constant
/// statistics after it: of output channel c
///   folded_weight = weight * factor, folded_bias = (bias - mean) * factor + beta,
///   factor = gamma / sqrt(variance + epsilon).
/// weight and folded_weight [channels, per_channel], the rest [channels], all of param type.
struct FoldBatchNorm {
  int channels = 0;
  std::int64_t per_channel = 0;
  float epsilon = 1e-5F;
  const void* weight = nullptr;
  const void* bias = nullptr;  // null: 0
  const void* gamma = nullptr;
  const void* beta = nullptr;
  const void* mean = nullptr;
  const void* variance = nullptr;
  void* folded_weight = nullptr;
  void* folded_bias = nullptr;
};

void run(Reference, const BatchNormForward& op);
void run(Reference, const BatchNormBackward& op);
void run(Reference, const FoldBatchNorm& op);

void run(Cpu, const BatchNormForward& op);
void run(Cpu, const BatchNormBackward& op);
void run(Cpu, const FoldBatchNorm& op);
std::size_t workspace_bytes(Cpu, const BatchNormForward& op);
std::size_t workspace_bytes(Cpu, const BatchNormBackward& op);

void run(Cuda, const BatchNormForward& op);
void run(Cuda, const BatchNormBackward& op);
void run(Cuda, const FoldBatchNorm& op);
std::size_t workspace_bytes(Cuda, const BatchNormForward& op);
std::size_t workspace_bytes(Cuda, const BatchNormBackward& op);

void run(Simt, const BatchNormForward& op);
void run(Simt, const BatchNormBackward& op);
void run(Simt, const FoldBatchNorm& op);
std::size_t workspace_bytes(Simt, const BatchNormForward& op);
std::size_t workspace_bytes(Simt, const BatchNormBackward& op);

}  // namespace anaphase::kernels
