// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// y = activation(x weight^T + bias + residual)
///   x [rows, in], weight [out, in], bias [out] (param type) or null, residual like y or null (may
///   be y itself), y [rows, out]. Sums in float, one rounding to `type`.
/// allow_tf32: as for a convolution (conv.hpp).
struct LinearForward {
  std::int64_t rows = 0;
  int in = 0, out = 0;
  DType type = DType::f32;
  bool allow_tf32 = false;
  const void* x = nullptr;
  const void* weight = nullptr;
  const void* packed = nullptr;  // in place of weight (Pack, common/launch.hpp); null: not packed
  const void* bias = nullptr;
  const void* residual = nullptr;
  Activation activation = Activation::none;
  float slope = 0.01F;  // of leaky_relu
  void* y = nullptr;
  void* workspace = nullptr;
};

/// dx = dy weight
struct LinearInputGradient {
  std::int64_t rows = 0;
  int in = 0, out = 0;
  DType type = DType::f32;
  bool allow_tf32 = false;
  const void* dy = nullptr;
  const void* weight = nullptr;
  void* dx = nullptr;
  void* workspace = nullptr;
};

/// dweight = dy^T x, dbias = column sums of dy (null: not wanted); both of param type.
struct LinearWeightGradient {
  std::int64_t rows = 0;
  int in = 0, out = 0;
  DType type = DType::f32;
  bool allow_tf32 = false;
  const void* x = nullptr;
  const void* dy = nullptr;
  void* dweight = nullptr;
  void* dbias = nullptr;
  void* workspace = nullptr;
};

void run(Reference, const LinearForward& op);
void run(Reference, const LinearInputGradient& op);
void run(Reference, const LinearWeightGradient& op);

void run(Cpu, const LinearForward& op);
void run(Cpu, const Pack<LinearForward>& op);
std::size_t packed_bytes(Cpu, const LinearForward& op);
void run(Cpu, const LinearInputGradient& op);
void run(Cpu, const LinearWeightGradient& op);
std::size_t workspace_bytes(Cpu, const LinearForward& op);
std::size_t workspace_bytes(Cpu, const LinearInputGradient& op);
std::size_t workspace_bytes(Cpu, const LinearWeightGradient& op);

void run(Cuda, const LinearForward& op);
void run(Cuda, const LinearInputGradient& op);
void run(Cuda, const LinearWeightGradient& op);
std::size_t workspace_bytes(Cuda, const LinearForward& op);
std::size_t workspace_bytes(Cuda, const LinearInputGradient& op);
std::size_t workspace_bytes(Cuda, const LinearWeightGradient& op);

void run(Simt, const LinearForward& op);
void run(Simt, const LinearInputGradient& op);
void run(Simt, const LinearWeightGradient& op);
std::size_t workspace_bytes(Simt, const LinearForward& op);
std::size_t workspace_bytes(Simt, const LinearInputGradient& op);
std::size_t workspace_bytes(Simt, const LinearWeightGradient& op);

/// oneDNN's name of what runs the operation, such as "x64:gemm:jit"; "ref..." is a plain loop.
std::string implementation(Cpu, const LinearForward& op);
std::string implementation(Cpu, const LinearInputGradient& op);
std::string implementation(Cpu, const LinearWeightGradient& op);

/// Multiplications and additions.
inline double flop_count(const LinearForward& op) {
  return 2.0 * static_cast<double>(op.rows) * op.in * op.out;
}
inline double flop_count(const LinearInputGradient& op) {
  return 2.0 * static_cast<double>(op.rows) * op.in * op.out;
}
inline double flop_count(const LinearWeightGradient& op) {
  return 2.0 * static_cast<double>(op.rows) * op.in * op.out;
}

}  // namespace anaphase::kernels
