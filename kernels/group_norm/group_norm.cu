// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm.hpp"

#include "kernels/common/gpu/launch.cuh"
#include "kernels/group_norm/ladder.hpp"

// Chooses a rung of the ladder by the sizes (see README.md):
//   v3_on_chip  a slab of a sample fits in the registers of a block, and there are 32 blocks or the
//               slab is at most 32 KiB: memory is read once
//   v4_split    else: three reads and writes instead of two, but blocks for a whole GPU
//   v1_plain    a group so wide that a pixel of it has more vectors than a block has threads

namespace anaphase::kernels {

void run(Gpu gpu, const GroupNormForward& op) {
  group_norm::run_on(group_norm::best_rung(op), gpu, op);
}

void run(Gpu gpu, const GroupNormBackward& op) {
  group_norm::run_on(group_norm::best_rung(op), gpu, op);
}

std::size_t workspace_bytes(Gpu, const GroupNormForward& op) {
  return group_norm::workspace_of(group_norm::best_rung(op), op);
}

std::size_t workspace_bytes(Gpu, const GroupNormBackward& op) {
  return group_norm::workspace_of(group_norm::best_rung(op), op);
}

}  // namespace anaphase::kernels
