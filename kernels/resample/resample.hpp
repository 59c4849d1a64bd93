// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// How an output position p (0 .. out-1) looks into an input axis of length in:
///
///   nearest: floor(p * in / out)
///
///   linear: s = (p + 0.5) * in / out - 0.5, clamped to [0, in - 1], linear between neighbours
///
///   linear_aligned: s = p * (in - 1) / (out - 1), 0 if out is 1: the corners of both grids
///   coincide
///
/// A neighbour of weight 0 has no influence, be it infinite.
enum class ResampleMode : unsigned char { nearest, linear, linear_aligned };

struct ResampleShape {
  int n = 1;
  int d = 1, h = 1, w = 1;              // input extents
  int out_d = 1, out_h = 1, out_w = 1;  // output extents
  int c = 1;
  ResampleMode mode = ResampleMode::nearest;
  bool operator==(const ResampleShape&) const = default;
};

/// x [n, d, h, w, c] -> y [n, out_d, out_h, out_w, c]; linear modes are separable (bi- or
/// trilinear). With a skip connection [n, out_d, out_h, out_w, skip_channels], y has its channels
/// first, as Concat joins them: y [n, out_d, out_h, out_w, skip_channels + c].
struct ResampleForward {
  ResampleShape shape;
  DType type = DType::f32;
  const void* x = nullptr;
  void* y = nullptr;
  const void* skip = nullptr;
  int skip_channels = 0;  // 0 without a skip connection
};

/// dx: the adjoint of the forward map (without a skip connection), summed in float in a fixed order
/// (gather form, no scatter).
struct ResampleBackward {
  ResampleShape shape;
  DType type = DType::f32;
  const void* dy = nullptr;
  void* dx = nullptr;
};

void run(Reference, const ResampleForward& op);
void run(Reference, const ResampleBackward& op);

void run(Cpu, const ResampleForward& op);
void run(Cpu, const ResampleBackward& op);

void run(Cuda, const ResampleForward& op);
void run(Cuda, const ResampleBackward& op);

void run(Simt, const ResampleForward& op);
void run(Simt, const ResampleBackward& op);

}  // namespace anaphase::kernels
