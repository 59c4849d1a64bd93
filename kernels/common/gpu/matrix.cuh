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
#include <cstring>

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels::inline ANAPHASE_GPU_BUILD {

#if !defined(__CUDACC__)
namespace model {

struct Fragments {
  std::uint32_t a[4], b[2];
  float d[4];
};

inline float low_half(std::uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
inline float high_half(std::uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000U);
}

/// Rounds to tf32 as the tensor core reads a register: the lower 13 bits do not count.
inline float tf32(std::uint32_t bits) {
  return std::bit_cast<float>(bits & 0xffffe000U);
}

/// D += A B for a whole warp, each sum in order of k.
template <int K>
void multiply(simt::Slot* slots, const float (&a)[16][K], const float (&b)[K][8]) {
  float d[16][8];
  const auto each = [&](auto&& f) {
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i)
        f(reinterpret_cast<Fragments*>(slots[lane].bytes)->d[i],
          d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2]);
  };
  each([](const float& fragment, float& element) { element = fragment; });
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < K; ++k)
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
  each([](float& fragment, const float& element) { fragment = element; });
}

inline void multiply_bf16(simt::Slot* slots, unsigned) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& f = *reinterpret_cast<const Fragments*>(slots[lane].bytes);
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) {
      float* row = a[group + i % 2 * 8] + 2 * member + i / 2 * 8;
      row[0] = low_half(f.a[i]);
      row[1] = high_half(f.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * member + 8 * i][group] = low_half(f.b[i]);
      b[2 * member + 8 * i + 1][group] = high_half(f.b[i]);
    }
  }
  multiply(slots, a, b);
}

inline void multiply_tf32(simt::Slot* slots, unsigned) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& f = *reinterpret_cast<const Fragments*>(slots[lane].bytes);
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][member + i / 2 * 4] = tf32(f.a[i]);
    for (int i = 0; i < 2; ++i) b[member + 4 * i][group] = tf32(f.b[i]);
  }
  multiply(slots, a, b);
}

inline void multiply_fragments(float (&d)[4], const std::uint32_t (&a)[4],
                               const std::uint32_t (&b)[2], const char* name,
                               void (*combine)(simt::Slot*, unsigned), simt::Location where) {
  Fragments mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  std::memcpy(mine.d, d, sizeof d);
  const simt::Slot* slots = simt::collective(0xffffffffU, &mine, sizeof mine, name, where, combine);
  std::memcpy(d, reinterpret_cast<const Fragments*>(slots[simt::self->lane].bytes)->d, sizeof d);
}

/// The rows that 8 * count lanes point to, 16 bytes each, dealt out as ldmatrix does.
inline void load_matrices(std::uint32_t* registers, int count, const void* row, bool transposed,
                          simt::Location where) {
  const simt::Slot* slots = simt::collective(0xffffffffU, &row, sizeof row, "ldmatrix", where);
  const int lane = static_cast<int>(simt::self->lane);
  for (int matrix = 0; matrix < count; ++matrix) {
    std::uint16_t half[2];
    for (int i = 0; i < 2; ++i) {
      const int r = transposed ? lane % 4 * 2 + i : lane / 4;
      const int c = transposed ? lane / 4 : lane % 4 * 2 + i;
      const unsigned char* from;
      std::memcpy(&from, slots[matrix * 8 + r].bytes, sizeof from);
      if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0)
        simt::fail("ldmatrix from an address that is no multiple of 16", where);
      simt::check_access(from + 2 * c, 2, false);
      std::memcpy(&half[i], from + 2 * c, 2);
    }
    registers[matrix] = half[0] | static_cast<std::uint32_t>(half[1]) << 16;
  }
}

}  // namespace model
#define ANAPHASE_WHERE , simt::Location where = simt::Location::current()
#else
#define ANAPHASE_WHERE
#endif

__device__ inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[2] ANAPHASE_WHERE) {
#if !defined(__CUDACC__)
  model::multiply_fragments(d, a, b, "mma", model::multiply_bf16, where);
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
  model::multiply_fragments(d, a, b, "mma", model::multiply_tf32, where);
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
  model::load_matrices(r, 4, row, Transposed, where);
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
  model::load_matrices(r, 2, row, Transposed, where);
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

}  // namespace anaphase::kernels::inline ANAPHASE_GPU_BUILD
#undef ANAPHASE_WHERE
