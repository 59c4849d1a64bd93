// SPDX-License-Identifier: Apache-2.0
#pragma once

// Sums within a warp and a block, in an order that depends on nothing but the number of threads.

#include "kernels/common/gpu/shared.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

inline constexpr unsigned all_lanes = 0xffffffffU;

/// The sum over `Width` neighbouring lanes (a power of two), in each of them. All lanes of the warp
/// have to take part.
template <int Width = 32, class T>
__device__ T warp_sum(T value) {
#pragma unroll
  for (int distance = Width / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(all_lanes, value, distance);
  return value;
}

template <int Width = 32>
__device__ float warp_max(float value) {
#pragma unroll
  for (int distance = Width / 2; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(all_lanes, value, distance));
  return value;
}

/// The sums over a block of `Threads` (a multiple of 32) of each of N values, in every thread. Ends
/// with a barrier: `partial` may be used again at once.
template <int Threads, int N, class T>
__device__ void block_sums(T (&value)[N], SharedArray<T, N * Threads / 32>& partial) {
  constexpr int warps = Threads / 32;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    value[i] = warp_sum(value[i]);
    if (lane == 0) partial[i * warps + warp] = value[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; ++i) {
    T sum = 0;
    for (int w = 0; w < warps; ++w) sum += partial[i * warps + w];
    value[i] = sum;
  }
  __syncthreads();
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
