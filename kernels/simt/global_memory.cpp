// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/global_memory.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <shared_mutex>

#include "kernels/simt/memory_check.hpp"

namespace anaphase::simt {
namespace {

using Byte = unsigned char;
constexpr std::size_t margin = 1024;  // bytes on both sides; keeps cudaMalloc's alignment of 256

bool holds(const Allocation& allocation, const Byte* address) {
  return address + margin >= allocation.data &&
         address < allocation.data + allocation.bytes + margin;
}

/// All allocations by address.
class Registry {
 public:
  void add(Byte* data, std::size_t bytes) {
    auto allocation = std::make_unique<Allocation>(data, bytes);
    const std::unique_lock lock(mutex_);
    all_[data] = std::move(allocation);
    ++version_;
  }
  bool remove(Byte* data) {
    const std::unique_lock lock(mutex_);
    ++version_;
    return all_.erase(data) == 1;
  }
  const Allocation* find(const Byte* address) {
    // A thread of the operating system remembers the last few: a kernel uses only some.
    struct Recent {
      std::uint64_t version = 0;
      const Allocation* found[8] = {};
      unsigned next = 0;
    };
    thread_local Recent recent;
    if (const std::uint64_t version = version_.load(std::memory_order_acquire);
        recent.version != version)
      recent = {version};
    for (const Allocation* allocation : recent.found)
      if (allocation && holds(*allocation, address)) return allocation;
    const std::shared_lock lock(mutex_);
    const auto next = all_.upper_bound(address + margin);
    if (next == all_.begin()) return nullptr;
    const Allocation* found = std::prev(next)->second.get();
    if (!holds(*found, address)) return nullptr;
    recent.found[recent.next++ % 8] = found;
    return found;
  }

 private:
  std::shared_mutex mutex_;
  std::map<const Byte*, std::unique_ptr<Allocation>> all_;
  std::atomic<std::uint64_t> version_{1};
};

Registry& registry() {
  static Registry all;
  return all;
}

}  // namespace

Allocation::~Allocation() {
  std::free(cells_);
}

GlobalCell* Allocation::cells() const {
  std::call_once(has_cells_, [&] {
    cells_ = static_cast<GlobalCell*>(std::calloc(bytes / 2 + 1, sizeof(GlobalCell)));
  });
  return cells_;
}

const Allocation* find_allocation(const Byte* address) {
  return registry().find(address);
}

void* allocate_global(std::size_t bytes) {
  const auto memory = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                      static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (bytes >= memory) return nullptr;  // Linux would promise it all the same
  const std::size_t total = (bytes + 2 * margin + 255) / 256 * 256;
  auto* base = static_cast<Byte*>(std::aligned_alloc(256, total));
  if (!base) return nullptr;
  std::memset(base, 0xFF, total);
  registry().add(base + margin, bytes);
  return base + margin;
}

void free_global(void* data) {
  if (data && registry().remove(static_cast<Byte*>(data)))
    std::free(static_cast<Byte*>(data) - margin);
}

bool is_copyable(const void* data, std::size_t bytes) {
  const auto* address = static_cast<const Byte*>(data);
  const Allocation* allocation = registry().find(address);
  return !allocation ||
         (address >= allocation->data && address + bytes <= allocation->data + allocation->bytes);
}

}  // namespace anaphase::simt
