// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/gradient_norm.cuh"

#include "kernels/common/gpu/vector.cuh"
#include "kernels/optimizer/optimizer.hpp"
#include "kernels/reduce/partial_sums.cuh"

// norm = sqrt(sum gradient^2) and the scale that clips it, in two launches.
//
// Bytes: the gradient once, the least possible. A thread squares and adds four neighbours in float:
// all terms are positive, so nothing cancels, and the sum's relative error stays below 4 * 2^-24.
// Where the four could have over- or underflowed they are squared in double. Sums go on in double,
// one addition for 16 bytes, which also the devices bear that have 1/64 of their units for it. What
// is left of the error is halved by the square root. The order of additions depends on the count
// alone (kernels/reduce/partial_sums.cuh), so that a step can be repeated to the bit.

namespace anaphase::kernels {
namespace {

__global__ void __launch_bounds__(reduction_threads)
    square_in_blocks(std::int64_t count, const float* gradient, double* partial) {
  double sum = 0;
  for_each_vector<4>(count, [&]<int N>(std::integral_constant<int, N>, std::int64_t i) {
    const Vector<float, N> g = load<N>(gradient + i);
    float squares = 0;
#pragma unroll
    for (int k = 0; k < N; ++k) squares += g[k] * g[k];
    if (squares > 0x1p-80F && squares < 0x1p120F) {
      sum += squares;
    } else {
#pragma unroll
      for (int k = 0; k < N; ++k) sum += static_cast<double>(g[k]) * g[k];
    }
  });
  write_partial_sum(sum, partial);
}

__global__ void __launch_bounds__(reduction_threads)
    finish_norm(int count, const double* partial, float limit, float* norm, float* scale) {
  const double squares = sum_of_partials(count, partial);
  if (threadIdx.x == 0) write_norm(squares, limit, norm, scale);
}

}  // namespace

std::size_t workspace_bytes(Gpu, const GradientNorm& op) {
  return static_cast<std::size_t>(partial_sums(op.count / 4)) * sizeof(double);
}

void run(Gpu gpu, const GradientNorm& op) {
  const int blocks = partial_sums(op.count / 4);
  auto* partial = static_cast<double*>(op.workspace);
  launch<square_in_blocks>(gpu, {blocks, reduction_threads}, op.count,
                           static_cast<const float*>(op.gradient), partial);
  launch<finish_norm>(gpu, {1, reduction_threads}, blocks, partial, op.limit,
                      static_cast<float*>(op.norm), static_cast<float*>(op.scale));
}

}  // namespace anaphase::kernels
