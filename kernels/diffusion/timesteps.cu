// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/launch.cuh"
#include "kernels/diffusion/diffusion.hpp"

// The timesteps of a reverse process and their embedding: a few kilobytes, so that starting the
// kernels is what they cost. The embedding's angles are many turns, of which float would keep few
// correct digits; they are computed in double, in half turns, which the sine reduces exactly and
// without the table in local memory that large angles in radians need.

namespace anaphase::kernels {
namespace {

constexpr int threads = 128;

__global__ void __launch_bounds__(threads) next_step(NextStep op) {
  const std::int32_t step = *op.step + 1;
  __syncthreads();
  if (threadIdx.x == 0) *op.step = step;
  const std::int32_t t = op.timesteps[step];
  for_each_index(op.n, [&](std::int64_t i) { op.t[i] = t; });
}

/// A thread for a sine with its cosine, and for the zero of an odd last channel.
template <class T>
__global__ void __launch_bounds__(threads) embed(TimestepEmbedding op) {
  constexpr double pi = 3.14159265358979323846, log2_10000 = 13.2877123795494494;
  const int half = op.channels / 2;
  for_each_cell(op.n, half + op.channels % 2, [&](std::int64_t sample, int i) {
    T* y = static_cast<T*>(op.y) + sample * op.channels;
    if (i == half) {
      y[op.channels - 1] = T(0.0F);
      return;
    }
    double sine, cosine;
    sincospi(op.t[sample] * (exp2(-log2_10000 * i / half) / pi), &sine, &cosine);
    y[i] = T(static_cast<float>(sine));
    y[half + i] = T(static_cast<float>(cosine));
  });
}

}  // namespace

void run(Gpu gpu, const NextStep& op) {
  launch<next_step>(gpu, {1, threads}, op);
}

void run(Gpu gpu, const TimestepEmbedding& op) {
  const int columns = op.channels / 2 + op.channels % 2;
  with_gpu_type(op.type, [&]<class T>(T) {
    launch<embed<T>>(gpu, {blocks_for(std::int64_t{op.n} * columns, threads), threads}, op);
  });
}

}  // namespace anaphase::kernels
