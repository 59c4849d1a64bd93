// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/memory_check.hpp"

#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/simt/global_memory.hpp"
#include "kernels/simt/site.hpp"

// Shared memory: for every 2 bytes, who wrote and who read them last, and when. Two accesses of
// different threads, one of them a write, race unless a barrier of the block, or for threads of one
// warp a __syncwarp of both, lies between them. (Shuffles and votes order nothing: CUDA C++
// Programming Guide, "Warp Shuffle Functions".)
//
// Global memory: for every 2 bytes, which blocks wrote and read them last in this launch. Blocks
// are not ordered, so a write and any access of another block race, unless both are atomic or the
// block has synchronised with others: it has used an atomic and __threadfence.

namespace anaphase::simt {
namespace {

using Byte = unsigned char;

struct Range {
  const Byte *begin = nullptr, *end = nullptr;
  Range() = default;
  Range(const void* data, std::size_t bytes)
      : begin(static_cast<const Byte*>(data)), end(begin + bytes) {}
  bool holds(const Byte* address) const { return address >= begin && address < end; }
};

struct SharedCell {
  std::uint32_t write_epoch = 0, write_tick = 0, read_epoch = 0, read_tick = 0;
  std::uint16_t writer = 0, reader = 0;  // numbers of threads
  std::uint16_t other_reader = 0;        // one before `reader`, in the same epoch
  bool has_other_warp = false;           // it is of another warp
  bool has_other_lane = false;           // it is of the same, with no barrier of the warp since
  bool is_atomic = false;                // the write
  bool is_pending = false;               // an asynchronous copy is to write it
  std::uint32_t written_in = 0;          // the block, as block_serial counts them
};
constexpr std::size_t unit = 2;  // bytes a cell

/// When the lanes of a warp have last come to a barrier; ticks count these.
struct WarpOrder {
  std::uint32_t tick = 0, all = 0;
  bool has_pairs = false;
  std::uint32_t pairs[32][32];  // of two lanes, where not all took part
};

/// What the checks know of the block and thread that run on this thread of the operating system.
struct Checks {
  std::uint32_t launch = 0, block = 0;  // their numbers
  std::uint32_t epoch = 0;              // counts barriers, of all blocks so far
  bool has_fence = false, has_atomic = false;
  Range stack, parameters;
  Range shared;                   // of all blocks, one after the other
  std::vector<Range> arrays;      // in it, of this block
  std::vector<SharedCell> cells;  // of it
  std::array<WarpOrder, 32> warps;
};

/// Null outside of checked kernels.
thread_local constinit Checks* checks = nullptr;

std::uint16_t number_of(const Thread& thread) {
  return static_cast<std::uint16_t>(thread.warp * 32 + thread.lane);
}

std::string name_of_thread(unsigned number) {
  const dim3& extent = self->block->extent;
  return to_text(
      dim3(number % extent.x, number / extent.x % extent.y, number / extent.x / extent.y));
}

const char* noun(AccessKind kind) {
  return kind == AccessKind::read ? "a read" : "a write";
}
const char* verb(AccessKind kind) {
  return kind == AccessKind::read ? "reads" : "writes";
}

/// Ends the launch; `text()` makes the sentence, none of which stays behind on the heap.
template <class Text>
[[noreturn]] void report(const Site& where, const Text& text) {
  checks = nullptr;
  std::string what = text();
  fail(std::move(what), where);
}

void check_bounds(const Range& range, const Byte* address, std::size_t bytes, AccessKind kind,
                  const Site& where, const char* name) {
  const auto size = range.end - range.begin;
  if (address < range.begin)
    report(where, [&] {
      return fmt::format("{} of {} bytes begins {} bytes before {} of {} bytes", noun(kind), bytes,
                         range.begin - address, name, size);
    });
  if (address + bytes > range.end)
    report(where, [&] {
      return fmt::format("{} of {} bytes ends {} bytes past the end of {} of {} bytes", noun(kind),
                         bytes, address + bytes - range.end, name, size);
    });
}

// ---- Shared memory ----------------------------------------------------------------------------

/// Whether another thread's access at `tick` since the block's last barrier comes before whatever
/// the running thread does now.
bool is_before(const Checks& c, unsigned other, std::uint32_t tick) {
  if (other / 32 != self->warp) return false;
  const WarpOrder& order = c.warps[self->warp];
  return order.all > tick || (order.has_pairs && order.pairs[other % 32][self->lane] > tick);
}

/// A thread whose read of the cell races with a write of the running thread; -1 if none.
int racing_reader(const Checks& c, const SharedCell& cell) {
  if (cell.read_epoch != c.epoch) return -1;
  if (cell.has_other_warp) return cell.reader / 32 == self->warp ? cell.other_reader : cell.reader;
  const std::uint16_t me = number_of(*self);
  if (cell.reader != me && !is_before(c, cell.reader, cell.read_tick)) return cell.reader;
  if (cell.has_other_lane && cell.other_reader != me &&
      !is_before(c, cell.other_reader, cell.read_tick))
    return cell.other_reader;
  return -1;
}

void note_read(const Checks& c, SharedCell& cell) {
  const std::uint16_t me = number_of(*self);
  const WarpOrder& order = c.warps[self->warp];
  if (cell.read_epoch != c.epoch) {
    cell.has_other_warp = cell.has_other_lane = false;
  } else if (cell.has_other_warp) {
    return;
  } else if (cell.reader / 32 != self->warp) {
    cell.has_other_warp = true;
    cell.other_reader = me;
    return;
  } else if (order.all > cell.read_tick) {
    cell.has_other_lane = false;
  } else if (cell.reader != me) {
    cell.has_other_lane = true;
    cell.other_reader = cell.reader;
  }
  cell.read_epoch = c.epoch;
  cell.read_tick = order.tick;
  cell.reader = me;
}

/// The shared array that an address belongs to: the last one that begins before it or, in the
/// margin of the first, that.
const Range& array_of(const Checks& c, const Byte* address) {
  const auto after = std::upper_bound(
      c.arrays.begin(), c.arrays.end(), address,
      [](const Byte* at, const Range& array) { return at + shared_margin / 2 < array.begin; });
  return after == c.arrays.begin() ? *after : *std::prev(after);
}

void check_shared(Checks& c, const Byte* address, std::size_t bytes, AccessKind kind,
                  const Site& where) {
  if (c.arrays.empty())
    report(where, [] { return std::string("uses shared memory of an earlier block"); });
  const Range& array = array_of(c, address);
  check_bounds(array, address, bytes, kind, where, "a shared array");
  const std::uint16_t me = number_of(*self);
  const auto serial = static_cast<std::uint32_t>(block_serial);
  const std::size_t first = (address - c.shared.begin) / unit;
  const std::size_t end = (address - c.shared.begin + bytes + unit - 1) / unit;
  for (std::size_t i = first; i < end; ++i) {
    SharedCell& cell = c.cells[i];
    const auto place = [&] {
      return fmt::format("byte {} of a shared array of {} bytes",
                         c.shared.begin + i * unit - array.begin, array.end - array.begin);
    };
    if (kind != AccessKind::write && cell.written_in != serial)
      report(where, [&] { return fmt::format("reads {}, which no thread has written", place()); });
    if (cell.is_pending && cell.written_in == serial)
      report(where, [&] {
        return fmt::format("{} {}, to which an asynchronous copy of thread {} is under way",
                           verb(kind), place(), name_of_thread(cell.writer));
      });
    // Neighbours share a cell where accesses are narrower: only whole cells are judged.
    const Byte* begin = c.shared.begin + i * unit;
    const bool is_whole = address <= begin && address + bytes >= begin + unit;
    const bool is_atomic = kind == AccessKind::atomic;
    if (is_whole && cell.write_epoch == c.epoch && cell.writer != me &&
        !(is_atomic && cell.is_atomic) && !is_before(c, cell.writer, cell.write_tick))
      report(where, [&] {
        return fmt::format("{} {}, which thread {} wrote since the last barrier: a race",
                           verb(kind), place(), name_of_thread(cell.writer));
      });
    if (kind == AccessKind::read) {
      if (is_whole) note_read(c, cell);
      continue;
    }
    if (const int reader = is_whole ? racing_reader(c, cell) : -1; reader >= 0)
      report(where, [&] {
        return fmt::format("writes {}, which thread {} read since the last barrier: a race",
                           place(), name_of_thread(static_cast<unsigned>(reader)));
      });
    cell.write_epoch = c.epoch;
    cell.write_tick = c.warps[self->warp].tick;
    cell.writer = me;
    cell.is_atomic = is_atomic;
    cell.is_pending = false;
    cell.written_in = serial;
  }
}

/// Says of a piece of shared memory whether an asynchronous copy to it is under way.
void set_pending(Checks& c, const void* address, std::size_t bytes, bool is_pending) {
  const std::size_t first = (static_cast<const Byte*>(address) - c.shared.begin) / unit;
  for (std::size_t i = 0; i < bytes / unit; ++i) c.cells[first + i].is_pending = is_pending;
}

// ---- Global memory ----------------------------------------------------------------------------

/// A block's access: bits 33 up the launch, then the block's number + 1, then whether it is atomic.
using GlobalAccess = std::uint64_t;
constexpr std::uint32_t several_blocks = ~0U;

constexpr GlobalAccess access_of(std::uint32_t launch, std::uint32_t block, bool is_atomic) {
  return GlobalAccess{launch} << 33 | GlobalAccess{block} << 1 | (is_atomic ? 1 : 0);
}
constexpr std::uint32_t block_of(GlobalAccess access) {
  return static_cast<std::uint32_t>(access >> 1);
}

void check_global(Checks& c, const Allocation& allocation, const Byte* address, std::size_t bytes,
                  AccessKind kind, const Site& where) {
  check_bounds(Range(allocation.data, allocation.bytes), address, bytes, kind, where, "a buffer");
  const bool is_atomic = kind == AccessKind::atomic;
  if (is_atomic) c.has_atomic = true;
  const bool is_judged = !(c.has_atomic && c.has_fence);
  const GlobalAccess mine = access_of(c.launch, c.block + 1, is_atomic);
  const auto is_other = [&](GlobalAccess access) {
    return access >> 33 == mine >> 33 && block_of(access) != c.block + 1;
  };
  GlobalCell* cells = allocation.cells();
  if (!cells) report(where, [] { return std::string("there is no memory left for its checks"); });
  const std::size_t first = (address - allocation.data + unit - 1) / unit;
  const std::size_t end = (address - allocation.data + bytes) / unit;  // of the whole cells
  for (std::size_t i = first; i < end; ++i) {
    const auto fail_race = [&](GlobalAccess other, const char* did) {
      report(where, [&] {
        return fmt::format(
            "{} byte {} of a buffer of {} bytes, which {} of the grid {} in the same launch: a "
            "race between blocks",
            verb(kind), i * unit, allocation.bytes,
            block_of(other) == several_blocks ? std::string("another block")
                                              : fmt::format("block {}", block_of(other) - 1),
            did);
      });
    };
    // Of two accesses at the same time, one at least sees the other: each is noted before the
    // other's note is read.
    std::atomic_ref<GlobalAccess> writer(cells[i].writer), reader(cells[i].reader);
    GlobalAccess write = writer.load(), read = reader.load();
    if (kind == AccessKind::read) {
      const GlobalAccess noted = is_other(read) ? access_of(c.launch, several_blocks, false) : mine;
      if (read != noted) {
        reader.store(noted);
        write = writer.load();
      }
      if (is_judged && is_other(write)) fail_race(write, "wrote");
      continue;
    }
    if (write != mine) {
      write = writer.exchange(mine);
      read = reader.load();
    }
    if (is_judged && is_other(write) && !(is_atomic && write & 1)) fail_race(write, "wrote");
    if (is_judged && is_other(read)) fail_race(read, "read");
  }
}

// ---- Everything else --------------------------------------------------------------------------

/// Constants and variables of the program and its libraries.
bool is_of_program(const void* address) {
  static const std::vector<Range> segments = [] {
    std::vector<Range> all;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* out) {
          for (int i = 0; i < info->dlpi_phnum; ++i)
            if (const auto& header = info->dlpi_phdr[i]; header.p_type == PT_LOAD)
              static_cast<std::vector<Range>*>(out)->emplace_back(
                  reinterpret_cast<const void*>(info->dlpi_addr + header.p_vaddr), header.p_memsz);
          return 0;
        },
        &all);
    return all;
  }();
  return std::any_of(segments.begin(), segments.end(), [&](const Range& segment) {
    return segment.holds(static_cast<const Byte*>(address));
  });
}

/// What the kernel's parameters and built-in variables lie in.
bool is_built_in(const Checks& c, const Byte* address) {
  return c.parameters.holds(address) || Range(self, sizeof *self).holds(address) ||
         Range(self->block, sizeof *self->block).holds(address) ||
         address == reinterpret_cast<const Byte*>(&self);
}

/// A function by itself, because most accesses are to the stack and cost what its frame does.
[[gnu::noinline]] void check_outside_stack(Checks& c, const Byte* at, std::size_t bytes,
                                           AccessKind kind, const Site& where) {
  if (c.shared.holds(at)) return check_shared(c, at, bytes, kind, where);
  if (kind == AccessKind::read && is_built_in(c, at)) return;
  if (const Allocation* allocation = find_allocation(at))
    return check_global(c, *allocation, at, bytes, kind, where);
  if (kind == AccessKind::read && is_of_program(at)) return;
  report(where, [&] {
    return fmt::format("{} of {} bytes of memory that belongs to no buffer and no shared array",
                       noun(kind), bytes);
  });
}

}  // namespace

void begin_checks(const Launch& launch, std::uint64_t launch_number, std::size_t block) {
  if (!launch.is_checked) return;
  thread_local Checks mine;
  checks = &mine;
  Checks& c = mine;
  c.launch = static_cast<std::uint32_t>(launch_number) & 0x7fffffffU;
  c.block = static_cast<std::uint32_t>(block);
  ++c.epoch;
  c.has_fence = c.has_atomic = false;
  c.parameters = Range(launch.parameters.get(), launch.parameter_bytes);
  c.arrays.clear();
  for (WarpOrder& warp : c.warps) {
    warp.tick = warp.all = 0;
    warp.has_pairs = false;
  }
}

void end_checks() {
  checks = nullptr;
}

void own_memory(const void* stack, std::size_t stack_bytes) {
  if (checks) checks->stack = Range(stack, stack_bytes);
}

void pass_barrier() {
  if (checks) ++checks->epoch;
}

void pass_warp_barrier(unsigned mask, unsigned live) {
  if (!checks) return;
  Checks& c = *checks;
  WarpOrder& order = c.warps[self->warp];
  ++order.tick;
  if ((live & ~mask) == 0) {
    order.all = order.tick;
    return;
  }
  if (!std::exchange(order.has_pairs, true)) std::memset(order.pairs, 0, sizeof order.pairs);
  for (unsigned a = 0; a < 32; ++a)
    for (unsigned b = 0; b < 32; ++b)
      if (mask >> a & mask >> b & 1U) order.pairs[a][b] = order.tick;
}

void pass_fence() {
  if (checks) checks->has_fence = true;
}

void own_shared_memory(const void* data, std::size_t bytes) {
  if (!checks || checks->shared.begin == data) return;
  Checks& c = *checks;
  c.shared = Range(data, bytes);
  c.cells.assign((bytes + unit - 1) / unit, {});
}

void add_shared_array(const void* data, std::size_t bytes) {
  if (checks) checks->arrays.emplace_back(data, bytes);
}

void check_access(const void* address, std::size_t bytes, AccessKind kind, const Site& where) {
  const auto* at = static_cast<const Byte*>(address);
  if (checks && !checks->stack.holds(at)) check_outside_stack(*checks, at, bytes, kind, where);
}

void begin_async_write(const void* address, std::size_t bytes, const Site& where) {
  if (!checks) return;
  Checks& c = *checks;
  if (!c.shared.holds(static_cast<const Byte*>(address)))
    report(where,
           [] { return std::string("an asynchronous copy writes to memory that is not shared"); });
  check_access(address, bytes, AccessKind::write, where);
  set_pending(c, address, bytes, true);
}

void end_async_write(const void* address, std::size_t bytes, const Site& where) {
  if (!checks) return;
  Checks& c = *checks;
  set_pending(c, address, bytes, false);
  check_access(address, bytes, AccessKind::write, where);
}

bool compare_exchange(void* address, std::size_t bytes, void* expected, const void* desired,
                      Location where) {
  check_access(address, bytes, AccessKind::atomic, where);
  const auto exchange = [&]<class Word>(Word wanted) {
    std::memcpy(&wanted, desired, sizeof(Word));
    Word old;
    std::memcpy(&old, expected, sizeof(Word));
    std::atomic_ref<Word> value(*static_cast<Word*>(address));
    const bool is_exchanged = value.compare_exchange_strong(old, wanted);
    std::memcpy(expected, &old, sizeof(Word));
    return is_exchanged;
  };
  return bytes == 4 ? exchange(std::uint32_t{}) : exchange(std::uint64_t{});
}

}  // namespace anaphase::simt
