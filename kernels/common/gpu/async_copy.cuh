// SPDX-License-Identifier: Apache-2.0
#pragma once

// Copies from global to shared memory that run beside arithmetic (PTX ISA, "cp.async"; compute
// capability 8.0). Before that, the copy is made at once by the thread that asks for it, which is
// correct wherever the asynchronous one is.

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// Copies 16 bytes, or writes 16 zeros where not `valid` (`from` is not read then, but has to be a
/// global address). Both addresses are multiples of 16. Kept: the bytes stay in the L1 cache, for
/// data that this block reads again.
template <bool Kept = false>
__device__ void async_copy_16(void* to, const void* from, bool valid ANAPHASE_WHERE) {
#if !defined(__CUDACC__)
  simt::async_copy(to, from, 16, valid ? 16 : 0, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  if constexpr (Kept)
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(bytes)
                 : "memory");
  else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(bytes)
                 : "memory");
#else
  *static_cast<uint4*>(to) = valid ? *static_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
#endif
}

/// Copies 4 bytes or writes zeros, likewise.
__device__ inline void async_copy_4(void* to, const void* from, bool valid ANAPHASE_WHERE) {
#if !defined(__CUDACC__)
  simt::async_copy(to, from, 4, valid ? 4 : 0, where);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(bytes)
               : "memory");
#else
  *static_cast<unsigned*>(to) = valid ? *static_cast<const unsigned*>(from) : 0U;
#endif
}

/// Closes the group of the copies asked for since the last call.
__device__ inline void async_commit() {
#if !defined(__CUDACC__)
  simt::commit_async_copies();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most `Pending` of the calling thread's groups are under way. Other threads see
/// what was copied after the next barrier.
template <int Pending>
__device__ void async_wait() {
#if !defined(__CUDACC__)
  simt::wait_async_copies(Pending);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
