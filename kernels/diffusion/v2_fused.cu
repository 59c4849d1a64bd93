// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/reverse_step.cuh"

// Rung 2: one kernel, one thread an element. The estimate and the noise stay in registers.
//
// Bytes an element of s bytes: 3 s (and s for each of x0 and x0_before), the least possible. But a
// thread computes the four numbers of a Philox block and keeps one.

namespace anaphase::kernels {
namespace {

template <class T>
__global__ void __launch_bounds__(piece_threads) fused(ReverseStep op) {
  const StepBack step(op);
  for_each_piece<1>(op.n, op.per_sample, [&](int sample, std::int64_t i) {
    step_back<T, 1, true>(op, step, sample, i, [&](std::uint64_t key) {
      return Vector<float, 1>{{normal_of_element(key, step.draw, i)}};
    });
  });
}

}  // namespace

void reverse_step::v2_fused(Gpu gpu, const ReverseStep& op) {
  with_gpu_type(op.type, [&]<class T>(T) { launch<fused<T>>(gpu, piece_grid(op, 1), op); });
}

}  // namespace anaphase::kernels
