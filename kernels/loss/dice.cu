// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/loss.cuh"
#include "kernels/loss/loss.hpp"

// The soft Dice loss and its gradient, softmax included.
//
// Bytes: forward s an element and 4 a row, read once; backward 2 s and 4, which is the least
// possible while the probabilities are not kept. Operations: an exponential and about 10 more an
// element, in registers: memory binds (softmax_rows.cuh says how it is read). A thread keeps 3 sums
// a class, 24 for 8 classes, from its first row to its last, so the sums over the block, some 15
// shuffles a class, come once in at least four packs. Backward, the gradient for a probability is
// a p + b [label = k] with the same a and b for all rows: each block works them out once, for its
// shared memory.

namespace anaphase::kernels {
namespace {

template <class T, int C>
__global__ void __launch_bounds__(sum_threads<C>, 2)
    dice_sums(std::int64_t rows, int classes, const T* logits, const std::int32_t* labels,
              float* partial) {
  RowSums<C, 3, 0> sums(classes);
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> input(logits, first, count, classes);
    const PackLabels<T, C> truth(labels, first, count);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const RowSoftmax<T, C> softmax(input, r, classes);
      const std::int32_t label = truth.label[r];
      for_each_class<C>(classes, [&](int k) {
        const float p = softmax.probability(k);
        sums.add(0, k, label == k ? p : 0.0F);
        sums.add(1, k, label >= 0 ? p * p : 0.0F);
        sums.add(2, k, label == k ? 1.0F : 0.0F);
      });
    }
  });
  sums.finish(partial);
}

__global__ void __launch_bounds__(finish_threads)
    dice_loss(int classes, int blocks, float smooth, const float* partial, float* sums,
              float* loss) {
  const double score = sum_over_warps(classes, [&](int k) {
    const auto sum = [&](int i) {
      const int at = i * classes + k;
      const double all = total(partial + static_cast<std::int64_t>(at) * blocks, blocks);
      if (first_lane()) sums[at] = static_cast<float>(all);
      return all;
    };
    const double both = sum(0), square = sum(1), labelled = sum(2);
    return (2 * both + smooth) / (square + labelled + smooth);
  });
  if (threadIdx.x == 0) *loss = static_cast<float>(1 - score / classes);
}

template <class T, int C>
__global__ void __launch_bounds__(row_threads)
    dice_backward(std::int64_t rows, int classes, float smooth, const T* logits,
                  const std::int32_t* labels, const float* sums, const float* dloss, T* dlogits) {
  auto* if_labelled = reinterpret_cast<float*>(dynamic_shared());
  float* of_p = if_labelled + classes;
  for (int k = static_cast<int>(threadIdx.x); k < classes; k += row_threads) {
    const float numerator = 2 * sums[k] + smooth;
    const float denominator = sums[classes + k] + sums[2 * classes + k] + smooth;
    const float unit = 2 * *dloss / (static_cast<float>(classes) * denominator);
    if_labelled[k] = -unit;
    of_p[k] = unit * (numerator / denominator);
  }
  __syncthreads();
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> input(logits, first, count, classes);
    const PackLabels<T, C> truth(labels, first, count);
    PackOutput<T, C> output(dlogits, first, count, classes);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const RowSoftmax<T, C> softmax(input, r, classes);
      const std::int32_t label = truth.label[r];
      const auto gradient = [&](int k, float p) {
        return of_p[k] * p + (label == k ? if_labelled[k] : 0.0F);
      };
      const float dot = sum_over_classes<C>(classes, [&](int k) {
        const float p = softmax.probability(k);
        return p * gradient(k, p);
      });
      for_each_class<C>(classes, [&](int k) {
        const float p = softmax.probability(k);
        output.set(r, k, label >= 0 ? p * (gradient(k, p) - dot) : 0.0F);
      });
    }
    output.store();
  });
}

}  // namespace

std::size_t workspace_bytes(Gpu, const DiceForward& op) {
  return partial_bytes(op, 3 * op.classes);
}

void run(Gpu gpu, const DiceForward& op) {
  auto* partial = static_cast<float*>(op.workspace);
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    const Grid grid = sum_grid<T, C>(op.rows, 3 * op.classes);
    launch<dice_sums<T, C>>(gpu, grid, op.rows, op.classes, static_cast<const T*>(op.logits),
                            op.labels, partial);
    launch<dice_loss>(gpu, {1, finish_threads}, op.classes, static_cast<int>(grid.blocks.x),
                      op.smooth, static_cast<const float*>(partial), static_cast<float*>(op.sums),
                      static_cast<float*>(op.loss));
  });
}

void run(Gpu gpu, const DiceBackward& op) {
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    launch<dice_backward<T, C>>(
        gpu, {row_blocks<T, C>(op.rows), row_threads, 2 * op.classes * sizeof(float)}, op.rows,
        op.classes, op.smooth, static_cast<const T*>(op.logits), op.labels,
        static_cast<const float*>(op.sums), static_cast<const float*>(op.dloss),
        static_cast<T*>(op.dlogits));
  });
}

}  // namespace anaphase::kernels
