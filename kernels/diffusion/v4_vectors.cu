// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/reverse_step.cuh"

// Rung 4: 16 bytes a load and a store: four elements and one Philox block in f32, eight and two in
// bf16. Wants samples of whole 16 bytes.

namespace anaphase::kernels {
namespace {

template <class T>
__global__ void __launch_bounds__(piece_threads) vectors(ReverseStep op) {
  constexpr int N = lanes_of<T>;
  const StepBack step(op);
  for_each_piece<N>(op.n, op.per_sample, [&](int sample, std::int64_t i) {
    step_back<T, N, true>(op, step, sample, i,
                          [&](std::uint64_t key) { return normals<N>(key, step.draw, i); });
  });
}

}  // namespace

void reverse_step::v4_vectors(Gpu gpu, const ReverseStep& op) {
  with_gpu_type(op.type,
                [&]<class T>(T) { launch<vectors<T>>(gpu, piece_grid(op, lanes_of<T>), op); });
}

}  // namespace anaphase::kernels
