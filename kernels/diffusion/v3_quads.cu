// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/reverse_step.cuh"

// Rung 3: a thread takes the four neighbours that share a Philox block, which is computed once.
//
// Bytes as in rung 2, but loads and stores are of one element each, 16 or 8 bytes apart from lane
// to lane: a warp needs four of them for the lines that one could have moved.

namespace anaphase::kernels {
namespace {

template <class T>
__global__ void __launch_bounds__(piece_threads) quads(ReverseStep op) {
  const StepBack step(op);
  for_each_piece<4>(op.n, op.per_sample, [&](int sample, std::int64_t i) {
    step_back<T, 4, false>(op, step, sample, i,
                           [&](std::uint64_t key) { return normals<4>(key, step.draw, i); });
  });
}

}  // namespace

void reverse_step::v3_quads(Gpu gpu, const ReverseStep& op) {
  with_gpu_type(op.type, [&]<class T>(T) { launch<quads<T>>(gpu, piece_grid(op, 4), op); });
}

}  // namespace anaphase::kernels
