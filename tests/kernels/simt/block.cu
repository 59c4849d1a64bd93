// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/shared.cuh"
#include "tests/kernels/simt/kernels.hpp"

namespace anaphase::test {

using namespace kernels;

namespace {

__global__ void indices(unsigned* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned place = block * blockDim.x * blockDim.y * blockDim.z + thread;
  const unsigned values[] = {threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x,
                             blockIdx.y,  blockIdx.z,  blockDim.x,  blockDim.y,
                             blockDim.z,  gridDim.x,   gridDim.y,   gridDim.z};
  for (unsigned i = 0; i < 12; ++i) out[12 * place + i] = values[i];
}

__global__ void reverse(int count, float* x) {
  __shared__ SharedArray<float, 64> tile;
  auto* const other = reinterpret_cast<float*>(dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x);
  const int i = static_cast<int>(blockIdx.x) * 64 + thread;
  tile[thread] = i < count ? x[i] : -1.0F;
  __syncthreads();
  other[63 - thread] = tile[thread];
  __syncthreads();
  if (i < count) x[i] = other[thread];
}

__global__ void count_above(const int* x, int limit, int* out) {
  const int is_above = x[threadIdx.x] > limit;
  const int count = __syncthreads_count(is_above);
  const int any = __syncthreads_or(is_above), all = __syncthreads_and(is_above);
  out[3 * threadIdx.x] = count;
  out[3 * threadIdx.x + 1] = any;
  out[3 * threadIdx.x + 2] = all;
}

__global__ void take_tickets(unsigned* next, int* out) {
  out[atomicAdd(next, 1)] = static_cast<int>(threadIdx.x);
}

__global__ void nothing() {}

__global__ void scale(int count, float factor, float* x) {
  for_each_index(count, [&](std::int64_t i) { x[i] = x[i] * factor + 1; });
}

}  // namespace

void write_indices(simt::dim3 grid, simt::dim3 block, unsigned* out) {
  launch<indices>(Gpu{}, {grid, block}, out);
}

void reverse_blocks(int count, float* x) {
  launch<reverse>(Gpu{}, {dim3(static_cast<unsigned>(ceil_div(count, 64))), 64, 64 * sizeof(float)},
                  count, x);
}

void count_in_block(const int* x, int limit, int* out) {
  launch<count_above>(Gpu{}, {1, 96}, x, limit, out);
}

void order_of_turns(int* out) {
  void* next = nullptr;
  check(cudaMalloc(&next, sizeof(unsigned)), "an allocation");
  check(cudaMemsetAsync(next, 0, sizeof(unsigned), nullptr), "a fill");
  launch<take_tickets>(Gpu{}, {1, 64}, static_cast<unsigned*>(next), out);
  check(cudaFree(next), "freeing");
}

void scale_and_add(simt::runtime::cudaStream_t stream, int count, float factor, float* x) {
  launch<scale>(Gpu{0, stream}, {2, 32}, count, factor, x);
}

void launch_empty(simt::dim3 grid, simt::dim3 block, std::size_t shared_bytes) {
  launch<nothing>(Gpu{}, {grid, block, shared_bytes});
}

}  // namespace anaphase::test
