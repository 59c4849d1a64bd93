// SPDX-License-Identifier: Apache-2.0
#pragma once

// The matrix instructions of a warp. Fragment layouts are those of the PTX ISA ("Matrix Fragments
// for mma.m16n8k16", "... m16n8k8", "ldmatrix"), with group = lane / 4 and member = lane % 4:
//
//   mma_bf16, D[16x8] += A[16x16] B[16x8]; two bf16 a register, the lower index in the lower half
//     a[0]: row group,     columns 2 member, + 1       b[0]: rows 2 member, + 1,     column group
//     a[1]: row group + 8, columns 2 member, + 1       b[1]: rows 2 member + 8, + 9, column group
//     a[2]: row group,     columns 2 member + 8, + 9
//     a[3]: row group + 8, columns 2 member + 8, + 9
//   mma_tf32, D[16x8] += A[16x8] B[8x8]; one float a register, of which 10 bits of mantissa count
//     a[0]: row group, column member                   b[0]: row member, column group
//     a[1]: row group + 8, column member               b[1]: row member + 4, column group
//     a[2]: row group, column member + 4
//     a[3]: row group + 8, column member + 4
//   d[0], d[1]: row group, columns 2 member, + 1;  d[2], d[3]: row group + 8, likewise
//
// They need compute capability 8.0; below it a kernel that uses them must not be launched.

#include <cmath>

#include "kernels/common/gpu/launch.cuh"
#if !defined(__CUDACC__)
#include "kernels/simt/matrix.hpp"
#endif

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// Two floats rounded to bf16, as a register of a fragment holds them.
__device__ inline std::uint32_t bf16_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return bf16(low).bits | static_cast<std::uint32_t>(bf16(high).bits) << 16;
#endif
}

__device__ inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[2] ANAPHASE_WHERE) {
#if !defined(__CUDACC__)
  simt::mma_bf16(d, a, b, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

/// The bits of x rounded to tf32, to nearest and ties away from 0, for mma_tf32.
__device__ inline std::uint32_t to_tf32(float x) {
#if !defined(__CUDACC__)
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::isfinite(x) ? (bits + 0x1000U) & 0xffffe000U : bits;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  return __float_as_uint(x);
#endif
}

__device__ inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[2] ANAPHASE_WHERE) {
#if !defined(__CUDACC__)
  simt::mma_tf32(d, a, b, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

/// Loads four 8x8 matrices of 16-bit elements from shared memory: lane l points to row l % 8 of
/// matrix l / 8; register i of a lane gets, of matrix i, row lane / 4, columns 2 (lane % 4) and
/// + 1. Transposed: rows and columns change places.
template <bool Transposed = false>
__device__ void load_matrices_4(std::uint32_t (&r)[4], const void* row ANAPHASE_WHERE) {
#if !defined(__CUDACC__)
  simt::load_matrices(r, 4, row, Transposed, where);
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
#endif
}

/// Two matrices, from the rows that lanes 0 to 15 point to (the others' pointers are not used, but
/// have to be valid).
template <bool Transposed = false>
__device__ void load_matrices_2(std::uint32_t (&r)[2], const void* row ANAPHASE_WHERE) {
#if !defined(__CUDACC__)
  simt::load_matrices(r, 2, row, Transposed, where);
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
#endif
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
