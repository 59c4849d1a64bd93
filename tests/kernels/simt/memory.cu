// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/async_copy.cuh"
#include "kernels/common/gpu/reduce.cuh"
#include "tests/kernels/simt/kernels.hpp"

namespace anaphase::test {

using namespace kernels;

namespace {

__global__ void all_atomics(int* s, unsigned* u, float* sum) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(s, i);
  atomicSub(s + 1, i);
  atomicMax(s + 2, i % 77);
  atomicMin(s + 3, -(i % 77));
  atomicOr(u, 1U << i % 9);
  atomicAnd(u + 1, ~(1U << i % 9));
  atomicInc(u + 2, 9);
  if (atomicExch(u + 3, 7U) == 0) atomicAdd(u + 4, 1);
  if (atomicCAS(u + 5, 0U, 1U) == 0) atomicAdd(u + 6, 1);
  atomicAdd(sum, 0.5F);
}

__global__ void count_values(int count, const int* x, unsigned* counts) {
  __shared__ SharedArray<unsigned, 16> mine;
  if (threadIdx.x < 16) mine[static_cast<int>(threadIdx.x)] = 0;
  __syncthreads();
  for_each_index(count, [&](std::int64_t i) { atomicAdd(&mine[x[i]], 1U); });
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(counts + threadIdx.x, mine[static_cast<int>(threadIdx.x)]);
}

__global__ void sum_kernel(int count, const float* x, float* partial, unsigned* counter,
                           float* sum) {
  __shared__ SharedArray<float, 2> scratch;
  __shared__ SharedArray<int, 1> is_last;
  float mine[1] = {};
  for_each_index(count, [&](std::int64_t i) { mine[0] += x[i]; });
  block_sums<64>(mine, scratch);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = mine[0];
    __threadfence();
    is_last[0] = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!is_last[0]) return;
  float all[1] = {threadIdx.x < gridDim.x ? partial[threadIdx.x] : 0.0F};
  block_sums<64>(all, scratch);
  if (threadIdx.x == 0) *sum = all[0];
}

constexpr int tile = 128;  // floats, four by each of 32 threads

__global__ void staged_copy(int count, const float* x, float* y) {
  __shared__ SharedArray<float, 3 * tile> stages;
  const int tiles = ceil_div(count, tile), mine = 4 * static_cast<int>(threadIdx.x);
  const auto fetch = [&](int t) {
    const int i = t * tile + mine;
    if (t < tiles) {
      if (i % 4 == 0 && i + 4 <= count) {
        async_copy_16(&stages[t % 3 * tile + mine], x + i, true);
      } else {
        for (int k = 0; k < 4; ++k) {
          const bool is_in = i + k < count;
          async_copy_4(&stages[t % 3 * tile + mine + k], is_in ? x + i + k : x, is_in);
        }
      }
    }
    async_commit();
  };
  fetch(0);
  fetch(1);
  for (int t = 0; t < tiles; ++t) {
    async_wait<1>();
    __syncthreads();
    fetch(t + 2);
    // Each thread passes on what its neighbour has fetched.
    for (int k = 0; k < 4; ++k) {
      const int i = tile - 1 - (mine + k);
      y[t * tile + i] = stages[t % 3 * tile + i];
    }
  }
}

__global__ void interleave_kernel(int count, std::uint16_t* y) {
  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x))
    y[i] = static_cast<std::uint16_t>(i);
}

__global__ void warp_barriers(float* out) {
  __shared__ SharedArray<float, 32> values;
  const int lane = static_cast<int>(threadIdx.x);
  if (lane == 0) values[0] = 1;
  __syncwarp();
  float sum = values[0];
  __syncwarp();
  if (lane == 5) values[0] = 2;
  __syncwarp();
  sum += values[0];
  __syncwarp();
  // The halves order themselves; neither touches what the other does.
  const int first = lane / 16 * 16;
  const unsigned half = 0xffffU << first;
  values[first + (lane + 1) % 16] = sum;
  if (lane < 16) __syncwarp(half);
  if (lane >= 16) {
    __syncwarp(half);
    __syncwarp(half);
  }
  sum += values[lane];
  __syncwarp();
  values[31 - lane] = sum;
  __syncwarp();
  out[lane] = values[lane];
}

}  // namespace

void atomics(int* signed_out, unsigned* unsigned_out, float* sum) {
  launch<all_atomics>(Gpu{}, {10, 33}, signed_out, unsigned_out, sum);
}

void histogram(int count, const int* x, unsigned* counts) {
  launch<count_values>(Gpu{}, {4, 64}, count, x, counts);
}

void sum_by_last_block(int count, const float* x, float* partial, unsigned* counter, float* sum) {
  launch<sum_kernel>(Gpu{}, {12, 64}, count, x, partial, counter, sum);
}

void copy_in_stages(int count, const float* x, float* y) {
  launch<staged_copy>(Gpu{}, {1, 32}, count, x, y);
}

void interleave(int count, std::uint16_t* y) {
  launch<interleave_kernel>(Gpu{}, {8, 1}, count, y);
}

void ordered_by_warp_barriers(float* out) {
  launch<warp_barriers>(Gpu{}, {1, 32}, out);
}

}  // namespace anaphase::test
