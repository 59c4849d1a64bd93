// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/gpu/matrix.cuh"

#include "kernels/common/gpu/shared.cuh"
#include "tests/kernels/simt/kernels.hpp"

// The fragments' layout is written here once more, from the PTX ISA's formulas for the row and
// column of element i ("Matrix Fragments for mma.m16n8k16" and "... mma.m16n8k8").

namespace anaphase::test {

using namespace kernels;

namespace {

__device__ std::uint32_t pair_of(std::uint16_t low, std::uint16_t high) {
  return low | static_cast<std::uint32_t>(high) << 16;
}

/// D's element i of a lane, in both shapes.
__device__ float& element_of_d(float* d, int group, int member, int i) {
  const int row = i < 2 ? group : group + 8, column = member * 2 + (i & 1);
  return d[8 * row + column];
}

__global__ void bf16_kernel(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  const int group = static_cast<int>(threadIdx.x) >> 2, member = static_cast<int>(threadIdx.x) % 4;
  std::uint16_t a_elements[8], b_elements[4];
  for (int i = 0; i < 8; ++i) {
    const int row = (i < 2) || (4 <= i && i < 6) ? group : group + 8;
    const int column = i < 4 ? member * 2 + (i & 1) : member * 2 + (i & 1) + 8;
    a_elements[i] = a[16 * row + column];
  }
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? member * 2 + (i & 1) : member * 2 + (i & 1) + 8;
    b_elements[i] = b[8 * row + group];
  }
  std::uint32_t a_registers[4], b_registers[2];
  float sums[4];
  for (int i = 0; i < 4; ++i) a_registers[i] = pair_of(a_elements[2 * i], a_elements[2 * i + 1]);
  for (int i = 0; i < 2; ++i) b_registers[i] = pair_of(b_elements[2 * i], b_elements[2 * i + 1]);
  for (int i = 0; i < 4; ++i) sums[i] = element_of_d(d, group, member, i);
  mma_bf16(sums, a_registers, b_registers);
  for (int i = 0; i < 4; ++i) element_of_d(d, group, member, i) = sums[i];
}

__global__ void tf32_kernel(const float* a, const float* b, float* d) {
  const int group = static_cast<int>(threadIdx.x) >> 2, member = static_cast<int>(threadIdx.x) % 4;
  std::uint32_t a_registers[4], b_registers[2];
  float sums[4];
  for (int i = 0; i < 4; ++i) {
    const int row = i == 0 || i == 2 ? group : group + 8, column = i < 2 ? member : member + 4;
    a_registers[i] = __float_as_uint(a[8 * row + column]);
  }
  for (int i = 0; i < 2; ++i) {
    const int row = i == 0 ? member : member + 4;
    b_registers[i] = __float_as_uint(b[8 * row + group]);
  }
  for (int i = 0; i < 4; ++i) sums[i] = element_of_d(d, group, member, i);
  mma_tf32(sums, a_registers, b_registers);
  for (int i = 0; i < 4; ++i) element_of_d(d, group, member, i) = sums[i];
}

template <bool Transposed>
__global__ void load_kernel(int count, const std::uint16_t* matrices, std::uint32_t* out) {
  __shared__ SharedArray<std::uint16_t, 4 * 64> tile;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 64 * count; i += 32) tile[i] = matrices[i];
  __syncwarp();
  const void* row = &tile[lane % (8 * count) * 8];
  std::uint32_t four[4] = {}, two[2] = {};
  if (count == 4) load_matrices_4<Transposed>(four, row);
  if (count == 2) load_matrices_2<Transposed>(two, row);
  for (int i = 0; i < count; ++i) out[4 * lane + i] = count == 4 ? four[i] : two[i];
}

__global__ void ldmatrix_kernel(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  __shared__ SharedArray<std::uint16_t, 16 * 16> a_tile;
  __shared__ SharedArray<std::uint16_t, 16 * 8> b_tile;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += 32) a_tile[i] = a[i];
  for (int i = lane; i < 16 * 8; i += 32) b_tile[i] = b[i];
  __syncwarp();
  std::uint32_t a_registers[4], b_registers[2];
  load_matrices_4(a_registers, &a_tile[lane % 16 * 16 + lane / 16 * 8]);
  load_matrices_2<true>(b_registers, &b_tile[lane % 16 * 8]);
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = element_of_d(d, lane / 4, lane % 4, i);
  mma_bf16(sums, a_registers, b_registers);
  for (int i = 0; i < 4; ++i) element_of_d(d, lane / 4, lane % 4, i) = sums[i];
}

}  // namespace

void multiply_bf16(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  launch<bf16_kernel>(Gpu{}, {1, 32}, a, b, d);
}

void multiply_tf32(const float* a, const float* b, float* d) {
  launch<tf32_kernel>(Gpu{}, {1, 32}, a, b, d);
}

void load_matrices(int count, bool transposed, const std::uint16_t* matrices, std::uint32_t* out) {
  if (transposed)
    launch<load_kernel<true>>(Gpu{}, {1, 32}, count, matrices, out);
  else
    launch<load_kernel<false>>(Gpu{}, {1, 32}, count, matrices, out);
}

void multiply_by_ldmatrix(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  launch<ldmatrix_kernel>(Gpu{}, {1, 32}, a, b, d);
}

}  // namespace anaphase::test
