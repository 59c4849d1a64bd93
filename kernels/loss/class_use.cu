// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/loss.cuh"
#include "kernels/loss/loss.hpp"

// How a batch uses its classes, and the gradients of that, softmax included.
//
// Bytes: forward s an element, read once; backward 2 s, which is the least possible while the
// probabilities are not kept. Operations: an exponential and about 10 more an element, a logarithm
// a row, in registers: memory binds (softmax_rows.cuh says how it is read). Backward, the part of
// the gradient that all rows share is worked out once a block, for its shared memory.

namespace anaphase::kernels {
namespace {

/// -sum p log p of a row: log1p(rest) - sum of p (x - largest), where p = 0 adds nothing even if x
/// is minus infinity.
template <class T, int C>
__device__ float entropy_of(const RowSoftmax<T, C>& softmax) {
  return log1pf(softmax.rest) - sum_over_classes<C>(softmax.classes, [&](int k) {
           const float p = softmax.probability(k);
           return p > 0 ? p * softmax.below_largest(k) : 0.0F;
         });
}

template <class T, int C>
__global__ void __launch_bounds__(sum_threads<C>, 2)
    class_use_sums(std::int64_t rows, int classes, const T* logits, float* partial) {
  RowSums<C, 1, 1> sums(classes);
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> input(logits, first, count, classes);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const RowSoftmax<T, C> softmax(input, r, classes);
      for_each_class<C>(classes,
                        [&](int k) { sums.add(0, k, r < count ? softmax.probability(k) : 0.0F); });
      const float entropy = entropy_of(softmax);
      sums.add_other(0, r < count ? entropy : 0.0F);
    }
  });
  sums.finish(partial);
}

__global__ void __launch_bounds__(finish_threads)
    class_use_loss(double rows, int classes, int blocks, const float* partial, const float* prior,
                   float* loss, float* use, float* entropy) {
  const auto mean = [&](int i) {
    return total(partial + static_cast<std::int64_t>(i) * blocks, blocks) / rows;
  };
  const double divergence = sum_over_warps(classes, [&](int k) {
    const double of_class = mean(k);
    if (first_lane()) use[k] = static_cast<float>(of_class);
    return of_class == 0 ? 0 : of_class * log(of_class / static_cast<double>(prior[k]));
  });
  const double mean_entropy = mean(classes);
  if (threadIdx.x != 0) return;
  *loss = static_cast<float>(divergence);
  *entropy = static_cast<float>(mean_entropy);
}

template <class T, int C>
__global__ void __launch_bounds__(row_threads)
    class_use_backward(std::int64_t rows, int classes, const T* logits, const float* prior,
                       const float* use, const float* dloss, const float* dentropy, T* dlogits) {
  // d loss / d p_k, less a constant that the softmax takes away
  auto* gradient = reinterpret_cast<float*>(dynamic_shared());
  const float loss_share = value_at(dloss) / static_cast<float>(rows);
  const float entropy_share = value_at(dentropy) / static_cast<float>(rows);
  for (int k = static_cast<int>(threadIdx.x); k < classes; k += row_threads)
    gradient[k] = use[k] == 0 ? 0.0F : loss_share * logf(use[k] / prior[k]);
  __syncthreads();
  for_each_pack<T, C>(rows, [&](std::int64_t first, int count) {
    const PackInput<T, C> input(logits, first, count, classes);
    PackOutput<T, C> output(dlogits, first, count, classes);
#pragma unroll
    for (int r = 0; r < pack_rows<T, C>; ++r) {
      const RowSoftmax<T, C> softmax(input, r, classes);
      const float entropy = entropy_of(softmax), log_sum = log1pf(softmax.rest);
      const float dot =
          sum_over_classes<C>(classes, [&](int k) { return gradient[k] * softmax.probability(k); });
      for_each_class<C>(classes, [&](int k) {
        const float p = softmax.probability(k), log_p = softmax.below_largest(k) - log_sum;
        const float d = p * (gradient[k] - dot - entropy_share * (log_p + entropy));
        output.set(r, k, p == 0 ? 0.0F : d);
      });
    }
    output.store();
  });
}

}  // namespace

std::size_t workspace_bytes(Gpu, const ClassUseForward& op) {
  return partial_bytes(op, op.classes + 1);
}

void run(Gpu gpu, const ClassUseForward& op) {
  auto* partial = static_cast<float*>(op.workspace);
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    const Grid grid = sum_grid<T, C>(op.rows, op.classes + 1);
    launch<class_use_sums<T, C>>(gpu, grid, op.rows, op.classes, static_cast<const T*>(op.logits),
                                 partial);
    launch<class_use_loss>(gpu, {1, finish_threads}, static_cast<double>(op.rows), op.classes,
                           static_cast<int>(grid.blocks.x), static_cast<const float*>(partial),
                           static_cast<const float*>(op.prior), static_cast<float*>(op.loss),
                           static_cast<float*>(op.use), static_cast<float*>(op.entropy));
  });
}

void run(Gpu gpu, const ClassUseBackward& op) {
  with_rows_of(op, [&]<class T, int C>(T, std::integral_constant<int, C>) {
    launch<class_use_backward<T, C>>(
        gpu, {row_blocks<T, C>(op.rows), row_threads, op.classes * sizeof(float)}, op.rows,
        op.classes, static_cast<const T*>(op.logits), static_cast<const float*>(op.prior),
        static_cast<const float*>(op.use), static_cast<const float*>(op.dloss),
        static_cast<const float*>(op.dentropy), static_cast<T*>(op.dlogits));
  });
}

}  // namespace anaphase::kernels
