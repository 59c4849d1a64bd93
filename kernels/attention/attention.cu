// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.hpp"

#include <iterator>

#include "kernels/attention/ladder.hpp"
#include "kernels/common/gpu/launch.cuh"

// Each rung of the ladder is faster than those below it wherever it can run, so the highest one
// that takes the shape is chosen.

namespace anaphase::kernels {
namespace {

template <class Operation>
void run_highest(Gpu gpu, const Operation& op) {
  const auto& rungs = attention_ladder::rungs<Gpu, Operation>;
  const int arch = architecture(gpu);
  const auto* rung = std::end(rungs) - 1;
  while (!rung->takes(op.shape, op.type, arch)) --rung;
  rung->run(gpu, op);
}

}  // namespace

void run(Gpu gpu, const AttentionForward& op) {
  run_highest(gpu, op);
}

void run(Gpu gpu, const AttentionBackward& op) {
  run_highest(gpu, op);
}

std::size_t workspace_bytes(Gpu, const AttentionBackward& op) {
  return sizeof(float) * op.shape.n * op.shape.heads * op.shape.tokens;
}

}  // namespace anaphase::kernels
