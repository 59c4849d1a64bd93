// SPDX-License-Identifier: Apache-2.0
#pragma once

// The rungs that lead to the convolution kernels, one idea a file, all of them compiled, tested and
// timed (kernels/conv/README.md). Each computes every shape but for what is said below; conv.cu
// chooses among them.

#include "kernels/conv/conv.hpp"

namespace anaphase::kernels::conv_ladder {

/// The part of the output that a block of threads computes, `rows` pixels of `columns` channels,
/// and the number of parts that the sums over taps and channels are cut into, which meet in the
/// operation's workspace if there is more than one.
struct Tiling {
  int rows = 0, columns = 0;
  int splits = 1;
};
/// Those that v3 and v4 have. Channels that do not come in multiples of 16 bytes are gathered one
/// by one, by gathering_tile whatever tile was asked for.
inline constexpr Tiling tiles[] = {{128, 128}, {128, 64}, {64, 64}, {128, 32}, {128, 16}};
inline constexpr Tiling gathering_tile = {128, 32};

/// Taps of an axis that v3 and v4 take; v1 and v2 take any.
inline constexpr int most_taps = 10;

/// What v3 and v4 need to have in `workspace`.
inline std::size_t workspace_bytes(const ConvForward& op, const Tiling& tiling) {
  const ConvShape& s = op.shape;
  const std::size_t pixels = std::size_t{1} * s.n * s.out_d() * s.out_h() * s.out_w();
  return tiling.splits > 1 ? tiling.splits * pixels * s.c_out * sizeof(float) : 0;
}
inline std::size_t workspace_bytes(const ConvInputGradient& op, const Tiling& tiling) {
  const ConvShape& s = op.shape;
  const std::size_t pixels = std::size_t{1} * s.n * s.d * s.h * s.w;
  return tiling.splits > 1 ? tiling.splits * pixels * s.c_in * sizeof(float) : 0;
}

// v1: one thread an element of the output.
// v2: tiles in shared memory and in registers.
// v3: the next tile is copied while this one is multiplied, 16 bytes at a time.
// v4: bf16, and float32 rounded to tf32, on the tensor cores; compute capability 8.0.
// few_outputs: up to 4 output channels, from input channels in multiples of 16 bytes.

void v1_direct(Cuda, const ConvForward& op);
void v1_direct(Cuda, const ConvInputGradient& op);
void v2_tiled(Cuda, const ConvForward& op);
void v2_tiled(Cuda, const ConvInputGradient& op);
void v3_pipelined(Cuda, const ConvForward& op, Tiling tiling);
void v3_pipelined(Cuda, const ConvInputGradient& op, Tiling tiling);
void v4_tensor_core(Cuda, const ConvForward& op, Tiling tiling);
void v4_tensor_core(Cuda, const ConvInputGradient& op, Tiling tiling);
void few_outputs(Cuda, const ConvForward& op);

void v1_direct(Simt, const ConvForward& op);
void v1_direct(Simt, const ConvInputGradient& op);
void v2_tiled(Simt, const ConvForward& op);
void v2_tiled(Simt, const ConvInputGradient& op);
void v3_pipelined(Simt, const ConvForward& op, Tiling tiling);
void v3_pipelined(Simt, const ConvInputGradient& op, Tiling tiling);
void v4_tensor_core(Simt, const ConvForward& op, Tiling tiling);
void v4_tensor_core(Simt, const ConvInputGradient& op, Tiling tiling);
void few_outputs(Simt, const ConvForward& op);

}  // namespace anaphase::kernels::conv_ladder
