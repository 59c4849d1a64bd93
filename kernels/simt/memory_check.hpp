// SPDX-License-Identifier: Apache-2.0
#pragma once

// Memory that kernels use, and the checking of accesses to it.

#include <cstddef>
#include <cstdint>

namespace anaphase::simt {

/// Global memory with a margin on both sides that no kernel may touch; filled with NaN. Null where
/// there is not enough.
void* allocate_global(std::size_t bytes);
void free_global(void* data);

/// The block that the calling thread of the operating system runs, as the checks see it.
struct BlockMemory {
  std::uint64_t launch = 0;              // number of the launch
  std::uint32_t block = 0;               // number of the block in its grid
  std::uint32_t epoch = 0;               // barriers the block has passed
  const unsigned char* stack = nullptr;  // of the running fiber
  std::size_t stack_bytes = 0;
};
extern thread_local constinit BlockMemory block_memory;

/// Announces shared memory of the block about to run: unwritten, untouched.
void add_shared_range(const void* data, std::size_t bytes);
void clear_shared_ranges();

/// Checks one access of the running CUDA thread; throws Fault. Wrappers that move memory on a
/// kernel's behalf call it, and so do the compiler's hooks in checked kernels.
void check_access(const void* address, std::size_t bytes, bool is_write, bool is_atomic = false);

/// Atomic compare and exchange of 4 or 8 bytes, checked; `expected` gets what was there.
bool compare_exchange(void* address, std::size_t bytes, void* expected, const void* desired);

}  // namespace anaphase::simt
