// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/loss.cuh"
#include "kernels/loss/loss.hpp"

// The cross entropy of labels and its gradient, softmax included.
//
// Bytes: forward s an element and 4 a row, read once; backward 2 s and 4, which is the least
// possible while the probabilities are not kept. Operations: an exponential and about 5 more an
// element, a logarithm a row, in registers: memory binds (softmax_rows.cuh says how it is read).

namespace anaphase::kernels {
namespace {

template <class T, int C>
__global__ void __launch_bounds__(sum_threads<C>, 2)
    cross_entropy_sums(std::int64_t rows, int classes, const T* logits, const std::int32_t* labels,
                       float* partial) {
  RowSums<C, 0, 2> sums(classes);
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> input(logits, first, count, classes);
    const PackLabels<T, C> truth(labels, first, count);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const RowSoftmax<T, C> softmax(input, r, classes);
      const std::int32_t label = truth.label[r];
      const float below_largest = sum_over_classes<C>(
          classes, [&](int k) { return label == k ? softmax.below_largest(k) : 0.0F; });
      sums.add_other(0, label >= 0 ? log1pf(softmax.rest) - below_largest : 0.0F);
      sums.add_other(1, label >= 0 ? 1.0F : 0.0F);
    }
  });
  sums.finish(partial);
}

__global__ void __launch_bounds__(32)
    cross_entropy_loss(int blocks, const float* partial, float* loss, float* counted) {
  const double sum = total(partial, blocks), count = total(partial + blocks, blocks);
  if (!first_lane()) return;
  *loss = count > 0 ? static_cast<float>(sum / count) : 0.0F;
  *counted = static_cast<float>(count);
}

template <class T, int C>
__global__ void __launch_bounds__(row_threads)
    cross_entropy_backward(std::int64_t rows, int classes, const T* logits,
                           const std::int32_t* labels, const float* counted, const float* dloss,
                           T* dlogits) {
  const float share = *dloss / *counted;
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> input(logits, first, count, classes);
    const PackLabels<T, C> truth(labels, first, count);
    PackOutput<T, C> output(dlogits, first, count, classes);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const RowSoftmax<T, C> softmax(input, r, classes);
      const std::int32_t label = truth.label[r];
      for_each_class<C>(classes, [&](int k) {
        const float d = share * (softmax.probability(k) - (label == k ? 1.0F : 0.0F));
        output.set(r, k, label >= 0 ? d : 0.0F);
      });
    }
    output.store();
  });
}

}  // namespace

std::size_t workspace_bytes(Gpu, const CrossEntropyForward& op) {
  return partial_bytes(op, 2);
}

void run(Gpu gpu, const CrossEntropyForward& op) {
  auto* partial = static_cast<float*>(op.workspace);
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    const Grid grid = sum_grid<T, C>(op.rows, 2);
    launch<cross_entropy_sums<T, C>>(gpu, grid, op.rows, op.classes,
                                     static_cast<const T*>(op.logits), op.labels, partial);
    launch<cross_entropy_loss>(gpu, {1, 32}, static_cast<int>(grid.blocks.x),
                               static_cast<const float*>(partial), static_cast<float*>(op.loss),
                               static_cast<float*>(op.counted));
  });
}

void run(Gpu gpu, const CrossEntropyBackward& op) {
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    launch<cross_entropy_backward<T, C>>(
        gpu, {row_blocks<T, C>(op.rows), row_threads}, op.rows, op.classes,
        static_cast<const T*>(op.logits), op.labels, static_cast<const float*>(op.counted),
        static_cast<const float*>(op.dloss), static_cast<T*>(op.dlogits));
  });
}

}  // namespace anaphase::kernels
