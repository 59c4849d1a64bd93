// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// Sizes of a 2-D or 3-D cross-correlation; 2-D is depth 1 with kernel_d 1. Zero padding, the same
/// on both sides of an axis.
struct ConvShape {
  int n = 1;
  int d = 1, h = 1, w = 1;  // input extents
  int c_in = 1, c_out = 1;
  int kernel_d = 1, kernel_h = 1, kernel_w = 1;
  int stride_d = 1, stride_h = 1, stride_w = 1;
  int pad_d = 0, pad_h = 0, pad_w = 0;

  int out_d() const { return (d + 2 * pad_d - kernel_d) / stride_d + 1; }
  int out_h() const { return (h + 2 * pad_h - kernel_h) / stride_h + 1; }
  int out_w() const { return (w + 2 * pad_w - kernel_w) / stride_w + 1; }
  bool operator==(const ConvShape&) const = default;
};

/// y = activation(x * weight + bias + residual)
///   x [n, d, h, w, c_in], weight [c_out, kernel_d, kernel_h, kernel_w, c_in], bias [c_out] (param
///   type) or null, residual like y or null (may be y itself), y [n, out_d, out_h, out_w, c_out];
///   `type` also for weight. Sums in float; bias, residual and activation are applied before the
///   one rounding to `type`.
/// allow_tf32: a GPU may round x and weight from f32 to tf32 (10 bits of mantissa), which its
/// tensor cores multiply several times faster; the sums stay float. The CPU takes no notice.
struct ConvForward {
  ConvShape shape;
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

/// dx = gradient of sum(dy * conv(x)) with respect to x; the adjoint of the convolution.
/// allow_tf32: as above, of dy and weight.
struct ConvInputGradient {
  ConvShape shape;
  DType type = DType::f32;
  bool allow_tf32 = false;
  const void* dy = nullptr;
  const void* weight = nullptr;
  void* dx = nullptr;
  void* workspace = nullptr;
};

/// dweight (param type, shaped like weight) and dbias[c] = sum of dy over all but c (param type;
/// null: not wanted). allow_tf32: as above, of x and dy.
struct ConvWeightGradient {
  ConvShape shape;
  DType type = DType::f32;
  bool allow_tf32 = false;
  const void* x = nullptr;
  const void* dy = nullptr;
  void* dweight = nullptr;
  void* dbias = nullptr;
  void* workspace = nullptr;
};

void run(Reference, const ConvForward& op);
void run(Reference, const ConvInputGradient& op);
void run(Reference, const ConvWeightGradient& op);

void run(Cpu, const ConvForward& op);
void run(Cpu, const ConvInputGradient& op);
void run(Cpu, const ConvWeightGradient& op);
std::size_t workspace_bytes(Cpu, const ConvForward& op);
std::size_t packed_bytes(Cpu, const ConvForward& op);
void run(Cpu, const Pack<ConvForward>& op);
std::size_t workspace_bytes(Cpu, const ConvInputGradient& op);
std::size_t workspace_bytes(Cpu, const ConvWeightGradient& op);

void run(Cuda, const ConvForward& op);
void run(Cuda, const ConvInputGradient& op);
void run(Cuda, const ConvWeightGradient& op);
std::size_t workspace_bytes(Cuda, const ConvForward& op);
std::size_t workspace_bytes(Cuda, const ConvInputGradient& op);
std::size_t workspace_bytes(Cuda, const ConvWeightGradient& op);

void run(Simt, const ConvForward& op);
void run(Simt, const ConvInputGradient& op);
void run(Simt, const ConvWeightGradient& op);
std::size_t workspace_bytes(Simt, const ConvForward& op);
std::size_t workspace_bytes(Simt, const ConvInputGradient& op);
std::size_t workspace_bytes(Simt, const ConvWeightGradient& op);

// On the CPU, ConvForward and ConvInputGradient give the same bits with any number of threads.
// ConvWeightGradient sums over pixels in an order that depends on the number of threads of the
// process, which is fixed when it makes its first plan (kernels/common/onednn.hpp): its bits repeat
// from run to run with the same OMP_NUM_THREADS, and differ in the last places with another one.

/// The name of what runs the operation: "winograd:4x4", "direct:packed", or oneDNN's, such as
/// "brgconv:avx512_core"; "ref..." is a plain loop.
std::string implementation(Cpu, const ConvForward& op);
std::string implementation(Cpu, const ConvInputGradient& op);
std::string implementation(Cpu, const ConvWeightGradient& op);

/// Multiplications and additions of one direction: 2 per output element, tap and input channel.
inline double flop_count(const ConvShape& s) {
  return 2.0 * s.n * s.out_d() * s.out_h() * s.out_w() * s.c_out * s.kernel_d * s.kernel_h *
         s.kernel_w * s.c_in;
}
inline double flop_count(const ConvForward& op) {
  return flop_count(op.shape);
}
inline double flop_count(const ConvInputGradient& op) {
  return flop_count(op.shape);
}
inline double flop_count(const ConvWeightGradient& op) {
  return flop_count(op.shape);
}

}  // namespace anaphase::kernels
