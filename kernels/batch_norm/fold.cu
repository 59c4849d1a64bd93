// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm.hpp"
#include "kernels/common/gpu/vector.cuh"

// Runs once for a model, before the first of many calls, over weights of at most some megabytes:
// one block for each output channel, whose threads read and write neighbours. Each thread computes
// the channel's factor for itself, which costs less than handing it out through shared memory.

namespace anaphase::kernels {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads) fold_batch_norm(FoldBatchNorm op) {
  const auto of = [](const void* parameter, int c) {
    return static_cast<const float*>(parameter)[c];
  };
  for (int c = static_cast<int>(blockIdx.x); c < op.channels; c += static_cast<int>(gridDim.x)) {
    const float factor = of(op.gamma, c) / sqrtf(of(op.variance, c) + op.epsilon);
    const std::int64_t first = c * op.per_channel;
    for (std::int64_t i = threadIdx.x; i < op.per_channel; i += threads)
      static_cast<float*>(op.folded_weight)[first + i] =
          static_cast<const float*>(op.weight)[first + i] * factor;
    if (threadIdx.x > 0) continue;
    const float bias = op.bias ? of(op.bias, c) : 0.0F;
    static_cast<float*>(op.folded_bias)[c] = (bias - of(op.mean, c)) * factor + of(op.beta, c);
  }
}

}  // namespace

void run(Gpu gpu, const FoldBatchNorm& op) {
  launch<fold_batch_norm>(gpu, {blocks_for(op.channels, 1), threads}, op);
}

}  // namespace anaphase::kernels
