// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/reverse_step.cuh"

// Rung 1: three kernels, as a framework of tensor operations would run them: the clean estimate,
// the noise, the update. One thread an element.
//
// Bytes an element of s bytes: 2 s + 4 for the estimate, 4 for the noise, 2 s + 8 for the update
// (and s for each of x0 and x0_before): 32 in f32, 24 in bf16, where 3 s would do. The intermediate
// tensors make up the difference. The noise costs as many instructions as in rung 2.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;

template <class T>
__global__ void __launch_bounds__(threads) estimate_clean(ReverseStep op, float* clean) {
  const StepBack step(op);
  for_each_index(op.n * op.per_sample, [&](std::int64_t i) {
    clean[i] =
        step.clean(static_cast<const T*>(op.x_t)[i], static_cast<const T*>(op.prediction)[i]);
  });
}

__global__ void __launch_bounds__(threads) draw_noise(ReverseStep op, float* noise) {
  const StepBack step(op);
  if (step.sigma == 0) return;
  for_each_piece<1>(op.n, op.per_sample, [&](int sample, std::int64_t i) {
    noise[sample * op.per_sample + i] = normal_of_element(op.keys[sample], step.draw, i);
  });
}

template <class T>
__global__ void __launch_bounds__(threads)
    update(ReverseStep op, const float* clean, const float* noise) {
  const StepBack step(op);
  for_each_index(op.n * op.per_sample, [&](std::int64_t i) {
    float before = 0;
    if (step.from_x0_before != 0) before = static_cast<const T*>(op.x0_before)[i];
    const float z = step.sigma != 0 ? noise[i] : 0;
    const float x_t = static_cast<const T*>(op.x_t)[i];
    static_cast<T*>(op.x_prev)[i] = T(step.previous(clean[i], before, x_t, z));
    if (op.x0) static_cast<T*>(op.x0)[i] = T(clean[i]);
  });
}

}  // namespace

void reverse_step::v1_separate(Gpu gpu, const ReverseStep& op, void* workspace) {
  const std::int64_t count = op.n * op.per_sample;
  auto* clean = static_cast<float*>(workspace);
  float* noise = clean + count;
  with_gpu_type(op.type, [&]<class T>(T) {
    launch<estimate_clean<T>>(gpu, {blocks_for(count, threads), threads}, op, clean);
    launch<draw_noise>(gpu, piece_grid(op, 1), op, noise);
    launch<update<T>>(gpu, {blocks_for(count, threads), threads}, op, clean, noise);
  });
}

}  // namespace anaphase::kernels
