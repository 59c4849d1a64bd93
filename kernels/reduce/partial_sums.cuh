// SPDX-License-Identifier: Apache-2.0
#pragma once

// Sums over a whole array by two kernels: each block of the first leaves one partial sum in double,
// and one block of the second adds these. How many there are depends on the size of the array
// alone, and so does the order of all additions.

#include "kernels/common/gpu/reduce.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

inline constexpr int reduction_threads = 256;

/// Partial sums over `vectors` items: enough blocks to fill any GPU, few enough for the second
/// kernel to add with four loads a thread.
inline int partial_sums(std::int64_t vectors) {
  return static_cast<int>(blocks_for(vectors, reduction_threads, 4 * reduction_threads).x);
}

/// Writes the sum over the block to partial[blockIdx.x].
__device__ inline void write_partial_sum(double sum, double* partial) {
  __shared__ SharedArray<double, reduction_threads / 32> of_warps;
  double total[1] = {sum};
  block_sums<reduction_threads>(total, of_warps);
  if (threadIdx.x == 0) partial[blockIdx.x] = total[0];
}

/// The sum of all partial sums, by one block, in every thread of it.
__device__ inline double sum_of_partials(int count, const double* partial) {
  __shared__ SharedArray<double, reduction_threads / 32> of_warps;
  double total[1] = {0};
  for_each_index(count, [&](std::int64_t i) { total[0] += partial[i]; });
  block_sums<reduction_threads>(total, of_warps);
  return total[0];
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
