// SPDX-License-Identifier: Apache-2.0
#pragma once

// The allocations that stand for the memory of a GPU, and what the checks note beside them.

#include <cstddef>
#include <cstdint>
#include <mutex>

namespace anaphase::simt {

/// For every 2 bytes of global memory: the accesses of blocks that memory_check.cpp compares.
struct GlobalCell {
  std::uint64_t writer, reader;
};

struct Allocation {
  unsigned char* data = nullptr;
  std::size_t bytes = 0;

  Allocation(unsigned char* memory, std::size_t size) : data(memory), bytes(size) {}
  ~Allocation();
  Allocation(const Allocation&) = delete;

  /// Made when they are first asked for; null where there is no memory.
  GlobalCell* cells() const;

 private:
  mutable std::once_flag has_cells_;
  mutable GlobalCell* cells_ = nullptr;
};

/// The allocation in whose memory or margin `address` lies, or null. It stays until it is freed,
/// which no kernel does.
const Allocation* find_allocation(const unsigned char* address);

}  // namespace anaphase::simt
