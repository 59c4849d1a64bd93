// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/conv/implicit_gemm.cuh"
#include "kernels/conv/ladder.hpp"

// Which kernel computes a convolution or its input gradient, and in tiles of which shape.
//
//   1 to 4 output channels (forward)                          few_outputs
//   kernels more than 10 wide                                 v2, tiles
//   bf16, or float32 where tf32 is allowed, from sm_80 on     v4, tensor cores
//   everything else                                           v3, CUDA cores
//
// The tile and the number of splits are those of the least estimated time on a GPU of 128
// multiprocessors, about what large ones have (A100: 108, H100: 132, RTX 4090: 128). How many there
// really are plays no part, so that sums run in the same order on all of them. The estimate counts
// the multiply-adds of the busiest multiprocessor, those with padding too, at the rate that its
// tile reaches; that a block waits for its first tiles and writes its sums; and for splits the
// traffic of their sums and one more launch.

namespace anaphase::kernels {
namespace {

using conv_ladder::Tiling;
using namespace implicit_gemm;

enum class Rung { tiled, pipelined, tensor_core, few_outputs };

template <class Operation>
bool is_aligned(const Operation& op) {
  const int lanes = static_cast<int>(16 / size_of(op.type));
  const bool is_forward = direction_of<Operation> == Direction::forward;
  return op.shape.c_in % lanes == 0 && (is_forward || op.shape.c_out % lanes == 0);
}

template <class Operation>
Rung rung_of(Gpu gpu, const Operation& op) {
  if (direction_of<Operation> == Direction::forward && op.shape.c_out <= 4 && is_aligned(op))
    return Rung::few_outputs;
  const ConvShape& s = op.shape;
  if (std::max({s.kernel_d, s.kernel_h, s.kernel_w}) > conv_ladder::most_taps) return Rung::tiled;
  const bool can = architecture(gpu) >= 80, may = op.type == DType::bf16 || op.allow_tf32;
  return can && may ? Rung::tensor_core : Rung::pipelined;
}

/// The part of the arithmetic units' rate that a tile reaches, as far as loads from shared memory
/// decide it. A multiply-add of v4 loads 1/16 byte of bf16 where a warp has 64 x 64 sums, 3/32 with
/// 64 x 32, 1/8 with 32 x 32; an A100 has time for 1/8, an H100 for 1/16. One of v3 loads 1 byte
/// where a thread has 8 x 8 sums and 1.5 with 8 x 4, before neighbours share what they load.
struct Worth {
  int rows, columns;
  double core, tensor;
};
constexpr Worth worths[] = {{128, 128, 1.0, 1.0},
                            {128, 64, 1.0, 0.85},
                            {64, 64, 0.9, 0.7},
                            {128, 32, 0.75, 0.6},
                            {128, 16, 0.7, 0.4}};

template <class Operation>
Tiling tiling_of(Rung rung, const Operation& op) {
  constexpr double multiprocessors = 128;
  constexpr double beside = 1.6;    // blocks that a multiprocessor needs to be busy
  constexpr double block_us = 0.5;  // of a block that do not overlap with others
  constexpr double launch_us = 2.5;
  constexpr double bytes_a_us = 2e6;
  // Multiply-adds of a multiprocessor in a microsecond.
  const double rate = rung == Rung::pipelined ? 1.6e5 : op.type == DType::bf16 ? 9e5 : 4.5e5;
  const int depth = static_cast<int>(64 / size_of(op.type));
  const std::vector<View> views = views_of(op);

  Tiling best{.splits = 0};
  double least = 0;
  for (const Worth& worth : worths) {
    if (!is_aligned(op) && (worth.rows != conv_ladder::gathering_tile.rows ||
                            worth.columns != conv_ladder::gathering_tile.columns))
      continue;
    double tiles = 0, steps = 0, outputs = 0;  // steps: of all tiles
    for (const View& view : views) {
      const double part =
          1.0 * ceil_div(view.rows, worth.rows) * ceil_div(view.columns, worth.columns);
      tiles += part;
      steps += part * ceil_div(view.inner, depth);
      outputs += 1.0 * view.rows * view.columns;
    }
    const double step_us = worth.rows * worth.columns * depth /
                           (rate * (rung == Rung::pipelined ? worth.core : worth.tensor));
    for (int splits = 1; splits == 1 || (splits <= 32 && steps / tiles >= 4 * splits);
         splits *= 2) {
      const double rounds = std::ceil(tiles * splits / multiprocessors);
      double us = std::max(rounds, beside) * step_us * steps / tiles / splits + rounds * block_us;
      if (splits > 1) us += launch_us + splits * outputs * 8 / bytes_a_us;
      if (best.splits == 0 || us < least) {
        least = us;
        best = {worth.rows, worth.columns, splits};
      }
    }
  }
  return best;
}

template <class Operation>
void choose_and_launch(Gpu gpu, const Operation& op) {
  switch (const Rung rung = rung_of(gpu, op)) {
    case Rung::few_outputs:
      if constexpr (direction_of<Operation> == Direction::forward)
        conv_ladder::few_outputs(gpu, op);
      break;
    case Rung::tiled:
      return conv_ladder::v2_tiled(gpu, op);
    case Rung::pipelined:
      return conv_ladder::v3_pipelined(gpu, op, tiling_of(rung, op));
    case Rung::tensor_core:
      return conv_ladder::v4_tensor_core(gpu, op, tiling_of(rung, op));
  }
}

template <class Operation>
std::size_t split_bytes(Gpu gpu, const Operation& op) {
  const Rung rung = rung_of(gpu, op);
  if (rung == Rung::few_outputs || rung == Rung::tiled) return 0;
  return conv_ladder::workspace_bytes(op, tiling_of(rung, op));
}

}  // namespace

void run(Gpu gpu, const ConvForward& op) {
  choose_and_launch(gpu, op);
}

void run(Gpu gpu, const ConvInputGradient& op) {
  choose_and_launch(gpu, op);
}

std::size_t workspace_bytes(Gpu gpu, const ConvForward& op) {
  return split_bytes(gpu, op);
}

std::size_t workspace_bytes(Gpu gpu, const ConvInputGradient& op) {
  return split_bytes(gpu, op);
}

}  // namespace anaphase::kernels
