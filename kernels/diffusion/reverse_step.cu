// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/launch.cuh"
#include "kernels/diffusion/ladder.hpp"

namespace anaphase::kernels {

void run(Gpu gpu, const ReverseStep& op) {
  using reverse_step::Rung;
  if (reverse_step::takes(Rung::v4_vectors, op))
    reverse_step::v4_vectors(gpu, op);
  else
    reverse_step::v3_quads(gpu, op);
}

}  // namespace anaphase::kernels
