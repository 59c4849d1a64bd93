// SPDX-License-Identifier: Apache-2.0
#pragma once

// Memory that kernels use, and the checking of accesses to it.

#include <cstddef>
#include <cstdint>

#include "kernels/simt/executor.hpp"

namespace anaphase::simt {

/// Global memory with a margin on both sides that no kernel may touch; filled with NaN. Null where
/// there is not enough.
void* allocate_global(std::size_t bytes);
void free_global(void* data);
/// Whether the host may copy these bytes: no, where they begin in global memory and leave it.
bool is_copyable(const void* data, std::size_t bytes);

/// Bytes between shared arrays that no kernel may touch.
inline constexpr std::size_t shared_margin = 64;

// What the executor tells the checks of the block that this thread of the operating system runs.

void begin_checks(const Launch& launch, std::uint64_t launch_number, std::size_t block);
void end_checks();
/// The memory that is the running CUDA thread's own.
void own_memory(const void* stack, std::size_t stack_bytes);
/// All threads of the block have come to a barrier.
void pass_barrier();
/// The lanes of `mask`, of the `live` ones of the running thread's warp, have come to a barrier.
void pass_warp_barrier(unsigned mask, unsigned live);
/// __threadfence.
void pass_fence();
/// The memory of which the blocks get their shared arrays, and one of these; later ones lie higher.
void own_shared_memory(const void* data, std::size_t bytes);
void add_shared_array(const void* data, std::size_t bytes);

enum class AccessKind : unsigned char { read, write, atomic };

/// Checks one access of the running CUDA thread, if its kernel is checked, and ends the launch with
/// a fault where it is wrong. Wrappers that move memory on a kernel's behalf call it, and so do the
/// compiler's hooks in checked kernels.
void check_access(const void* address, std::size_t bytes, AccessKind kind, const Site& where);

/// A copy that writes to shared memory at any time until it ends; nobody may read meanwhile.
void begin_async_write(const void* address, std::size_t bytes, const Site& where);
void end_async_write(const void* address, std::size_t bytes, const Site& where);

}  // namespace anaphase::simt
