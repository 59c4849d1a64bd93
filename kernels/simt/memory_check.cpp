// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/memory_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "kernels/simt/executor.hpp"

// Kernels are compiled with GCC's -fsanitize=thread, which puts a call before every memory access;
// the functions it calls are those at the end of this file, not the ones of the thread sanitizer.
//
// Shared memory: for every 2 bytes, who wrote and who read them last, and at which barrier of the
// block and collective of the warp. Two accesses of different threads, one of them a write, race
// unless a barrier of the block, or for threads of one warp a collective, lies between them.
// Global memory: for every 4 bytes, which block wrote and read them last in this launch. Blocks are
// not ordered, so a write and any access of another block race, unless both are atomic or the
// reading thread has synchronised through an atomic.

namespace anaphase::simt {

thread_local constinit BlockMemory block_memory;

namespace {

/// Some kernel of this program is checked. Otherwise only copies and matrix loads are seen, which
/// tells whether they stay in bounds, but not who has written what they read.
bool has_checked_kernels = false;

using Byte = unsigned char;
constexpr std::size_t margin = 1024;  // bytes on both sides of global memory
constexpr std::uint32_t nobody = ~0U;

struct GlobalCell {
  std::atomic<std::uint64_t> writer{0}, reader{0};  // launch << 32 | block + 1
};
constexpr std::size_t global_unit = 4;

struct Allocation {
  Byte* data = nullptr;
  std::size_t bytes = 0;
  mutable std::once_flag made_cells;
  mutable std::unique_ptr<GlobalCell[]> cells;  // made at the first checked access

  GlobalCell* shadow() const {
    std::call_once(made_cells, [&] {
      cells = std::make_unique<GlobalCell[]>((bytes + global_unit - 1) / global_unit);
    });
    return cells.get();
  }
};

/// Global memory by address.
class Registry {
 public:
  void add(Byte* data, std::size_t bytes) {
    auto allocation = std::make_shared<Allocation>();
    allocation->data = data;
    allocation->bytes = bytes;
    const std::unique_lock lock(mutex_);
    all_[data] = std::move(allocation);
    ++version_;
  }
  bool remove(Byte* data) {
    const std::unique_lock lock(mutex_);
    ++version_;
    return all_.erase(data) == 1;
  }
  /// The allocation in whose memory or margin `address` lies.
  const Allocation* find(const Byte* address) {
    thread_local const Allocation* last = nullptr;
    thread_local std::uint64_t last_version = 0;
    const std::uint64_t version = version_.load(std::memory_order_acquire);
    if (last && last_version == version && holds(*last, address)) return last;
    const std::shared_lock lock(mutex_);
    auto next = all_.upper_bound(address + margin);
    if (next == all_.begin()) return nullptr;
    const Allocation* found = std::prev(next)->second.get();
    if (!holds(*found, address)) return nullptr;
    last = found;
    last_version = version;
    return found;
  }

 private:
  static bool holds(const Allocation& allocation, const Byte* address) {
    return address + margin >= allocation.data &&
           address < allocation.data + allocation.bytes + margin;
  }
  std::shared_mutex mutex_;
  std::map<const Byte*, std::shared_ptr<Allocation>> all_;
  std::atomic<std::uint64_t> version_{1};
};

Registry& registry() {
  static Registry all;
  return all;
}

/// A thread's access to a cell of shared memory.
struct Access {
  std::uint32_t thread = nobody;  // number in its block
  std::uint32_t epoch = 0;        // barriers of the block before it
  std::uint32_t warp_epoch = 0;   // collectives of its warp before it
};
struct SharedCell {
  Access write, read;
  bool is_written = false;
};
constexpr std::size_t shared_unit = 2;

struct SharedRange {
  const Byte* data = nullptr;
  std::size_t bytes = 0;
  std::vector<SharedCell> cells;  // made at the first checked access of a block
};

std::vector<SharedRange>& shared_ranges() {
  thread_local std::vector<SharedRange> ranges;
  return ranges;
}
/// Ranges beyond this number are left from earlier blocks, kept for their memory.
thread_local std::size_t shared_count = 0;

std::uint32_t number_of_thread(const Thread& thread) {
  return thread.warp * 32 + thread.lane;
}

std::string name_of_thread(std::uint32_t number, const dim3& extent) {
  return fmt::format("({}, {}, {})", number % extent.x, number / extent.x % extent.y,
                     number / extent.x / extent.y);
}

[[noreturn]] void report(const std::string& what) {
  fail(what, Location::current());
}

void check_shared(SharedRange& range, const Byte* address, std::size_t bytes, bool is_write,
                  bool is_atomic) {
  if (address + bytes > range.data + range.bytes)
    report(fmt::format("{} of {} bytes ends {} bytes past the end of a shared array of {} bytes",
                       is_write ? "a write" : "a read", bytes,
                       address + bytes - range.data - range.bytes, range.bytes));
  if (!has_checked_kernels) return;
  if (range.cells.empty()) range.cells.resize((range.bytes + shared_unit - 1) / shared_unit);
  const Access now{number_of_thread(*self), block_memory.epoch, self->warp_epoch};
  const auto races = [&](const Access& other) {
    if (other.thread == nobody || other.thread == now.thread || other.epoch != now.epoch)
      return false;
    return other.thread / 32 != now.thread / 32 || other.warp_epoch == now.warp_epoch;
  };
  const std::size_t begin = (address - range.data) / shared_unit;
  const std::size_t end = (address - range.data + bytes + shared_unit - 1) / shared_unit;
  for (std::size_t i = begin; i < end; ++i) {
    SharedCell& cell = range.cells[i];
    const auto where = [&] {
      return fmt::format("byte {} of a shared array of {} bytes", i * shared_unit, range.bytes);
    };
    if (!is_write && !cell.is_written)
      report(fmt::format("reads {}, which no thread has written", where()));
    if (!is_atomic && races(cell.write))
      report(fmt::format("{} {}, which thread {} wrote since the last barrier: a race",
                         is_write ? "writes" : "reads", where(),
                         name_of_thread(cell.write.thread, self->block_extent)));
    if (is_write && !is_atomic && races(cell.read))
      report(fmt::format("writes {}, which thread {} read since the last barrier: a race", where(),
                         name_of_thread(cell.read.thread, self->block_extent)));
    if (is_write) {
      cell.write = is_atomic ? Access{} : now;
      cell.is_written = true;
    } else {
      cell.read = now;
    }
  }
}

void check_global(const Allocation& allocation, const Byte* address, std::size_t bytes,
                  bool is_write, bool is_atomic) {
  const Byte* end = allocation.data + allocation.bytes;
  if (address < allocation.data)
    report(fmt::format("{} of {} bytes begins {} bytes before a buffer of {} bytes",
                       is_write ? "a write" : "a read", bytes, allocation.data - address,
                       allocation.bytes));
  if (address + bytes > end)
    report(fmt::format("{} of {} bytes ends {} bytes past the end of a buffer of {} bytes",
                       is_write ? "a write" : "a read", bytes, address + bytes - end,
                       allocation.bytes));
  if (!has_checked_kernels) return;
  if (is_atomic) {
    self->has_used_atomics = true;
    return;
  }
  GlobalCell* cells = allocation.shadow();
  const std::uint64_t mine = block_memory.launch << 32 | (block_memory.block + 1ULL);
  const auto races = [&](std::uint64_t other) {
    return other >> 32 == (block_memory.launch & 0xffffffffU) && other != mine;
  };
  const std::size_t first = (address - allocation.data) / global_unit;
  const std::size_t last = (address - allocation.data + bytes - 1) / global_unit;
  for (std::size_t i = first; i <= last; ++i) {
    // Accesses narrower than a cell share it with their neighbours: only whole cells are judged.
    const bool is_whole = address <= allocation.data + i * global_unit &&
                          address + bytes >= allocation.data + (i + 1) * global_unit;
    if (!is_whole) continue;
    GlobalCell& cell = cells[i];
    const auto fail_race = [&](std::uint64_t other, const char* verb, const char* did) {
      report(
          fmt::format("{} byte {} of a buffer of {} bytes, which block {} of the grid {} in the "
                      "same launch: a race between blocks",
                      verb, i * global_unit, allocation.bytes, (other & 0xffffffffU) - 1, did));
    };
    const std::uint64_t writer = cell.writer.load(std::memory_order_relaxed);
    if (races(writer) && !self->has_used_atomics)
      fail_race(writer, is_write ? "writes" : "reads", "wrote");
    if (is_write) {
      const std::uint64_t reader = cell.reader.load(std::memory_order_relaxed);
      if (races(reader) && !self->has_used_atomics) fail_race(reader, "writes", "read");
      cell.writer.store(mine, std::memory_order_relaxed);
    } else {
      cell.reader.store(mine, std::memory_order_relaxed);
    }
  }
}

}  // namespace

void* allocate_global(std::size_t bytes) {
  // The margins keep the alignment of 256 bytes that cudaMalloc gives.
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

void add_shared_range(const void* data, std::size_t bytes) {
  auto& ranges = shared_ranges();
  if (ranges.size() == shared_count) ranges.emplace_back();
  SharedRange& range = ranges[shared_count++];
  range.data = static_cast<const Byte*>(data);
  range.bytes = bytes;
  range.cells.clear();
}

void clear_shared_ranges() {
  shared_count = 0;
}

/// A local variable of the running CUDA thread, or no thread runs: not for the checks.
static bool is_private(const void* address) {
  const auto* at = static_cast<const Byte*>(address);
  return !self || (at >= block_memory.stack && at < block_memory.stack + block_memory.stack_bytes);
}

void check_access(const void* address, std::size_t bytes, bool is_write, bool is_atomic) {
  if (is_private(address)) return;
  const auto* at = static_cast<const Byte*>(address);
  auto& ranges = shared_ranges();
  for (std::size_t i = 0; i < shared_count; ++i)
    if (at >= ranges[i].data && at < ranges[i].data + ranges[i].bytes)
      return check_shared(ranges[i], at, bytes, is_write, is_atomic);
  if (const Allocation* allocation = registry().find(at))
    check_global(*allocation, at, bytes, is_write, is_atomic);
}

bool compare_exchange(void* address, std::size_t bytes, void* expected, const void* desired) {
  check_access(address, bytes, true, true);
  const auto exchange = [&]<class Word>(Word wanted) {
    std::memcpy(&wanted, desired, sizeof(Word));
    Word old;
    std::memcpy(&old, expected, sizeof(Word));
    std::atomic_ref<Word> value(*static_cast<Word*>(address));
    const bool exchanged = value.compare_exchange_strong(old, wanted);
    std::memcpy(expected, &old, sizeof(Word));
    return exchanged;
  };
  return bytes == 4 ? exchange(std::uint32_t{}) : exchange(std::uint64_t{});
}

}  // namespace anaphase::simt

// What checked kernels call before they touch memory.
namespace {

void check_aligned(void* address, std::size_t bytes, bool is_write) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0 &&
      !anaphase::simt::is_private(address))
    anaphase::simt::fail(fmt::format("{} of {} bytes at an address that is no multiple of {}",
                                     is_write ? "a write" : "a read", bytes, bytes),
                         anaphase::simt::Location::current());
  anaphase::simt::check_access(address, bytes, is_write);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the compiler's names.
extern "C" {
void __tsan_init() {
  anaphase::simt::has_checked_kernels = true;
}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read1(void* a) {
  check_aligned(a, 1, false);
}
void __tsan_read2(void* a) {
  check_aligned(a, 2, false);
}
void __tsan_read4(void* a) {
  check_aligned(a, 4, false);
}
void __tsan_read8(void* a) {
  check_aligned(a, 8, false);
}
void __tsan_read16(void* a) {
  check_aligned(a, 16, false);
}
void __tsan_write1(void* a) {
  check_aligned(a, 1, true);
}
void __tsan_write2(void* a) {
  check_aligned(a, 2, true);
}
void __tsan_write4(void* a) {
  check_aligned(a, 4, true);
}
void __tsan_write8(void* a) {
  check_aligned(a, 8, true);
}
void __tsan_write16(void* a) {
  check_aligned(a, 16, true);
}
void __tsan_read_range(void* a, unsigned long n) {
  anaphase::simt::check_access(a, n, false);
}
void __tsan_write_range(void* a, unsigned long n) {
  anaphase::simt::check_access(a, n, true);
}
void __tsan_unaligned_read2(void* a) {
  anaphase::simt::check_access(a, 2, false);
}
void __tsan_unaligned_read4(void* a) {
  anaphase::simt::check_access(a, 4, false);
}
void __tsan_unaligned_read8(void* a) {
  anaphase::simt::check_access(a, 8, false);
}
void __tsan_unaligned_read16(void* a) {
  anaphase::simt::check_access(a, 16, false);
}
void __tsan_unaligned_write2(void* a) {
  anaphase::simt::check_access(a, 2, true);
}
void __tsan_unaligned_write4(void* a) {
  anaphase::simt::check_access(a, 4, true);
}
void __tsan_unaligned_write8(void* a) {
  anaphase::simt::check_access(a, 8, true);
}
void __tsan_unaligned_write16(void* a) {
  anaphase::simt::check_access(a, 16, true);
}
void __tsan_vptr_update(void**, void*) {}
unsigned char __tsan_atomic8_load(const volatile unsigned char* a, int order) {
  return __atomic_load_n(a, order);  // the guard of a function's static variable
}
void __tsan_vptr_read(void**) {}
}
// NOLINTEND(bugprone-reserved-identifier)
