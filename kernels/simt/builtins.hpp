// SPDX-License-Identifier: Apache-2.0
#pragma once

// CUDA's keywords, vector types and built-in variables for a host compiler.

#include <cstdint>

#include "kernels/simt/executor.hpp"

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): CUDA's names.
#define __global__ static
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline int2 make_int2(int x, int y) {
  return {x, y};
}
inline int4 make_int4(int x, int y, int z, int w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

using anaphase::simt::dim3;

#define threadIdx (::anaphase::simt::self->index)
#define blockIdx (::anaphase::simt::self->block->index)
#define blockDim (::anaphase::simt::self->block->extent)
#define gridDim (::anaphase::simt::self->block->grid_extent)
#define warpSize 32
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
