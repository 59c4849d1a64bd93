// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "kernels/common/philox.hpp"
#include "kernels/simt/memory_check.hpp"
#include "kernels/simt/site.hpp"

namespace anaphase::simt {

thread_local constinit Thread* self = nullptr;
thread_local constinit std::uint64_t block_serial = 0;

namespace {

constexpr std::size_t volume(const dim3& v) {
  return std::size_t{v.x} * v.y * v.z;
}

dim3 position(std::size_t linear, const dim3& extent) {
  const auto plane = std::size_t{extent.x} * extent.y;
  return {static_cast<unsigned>(linear % extent.x),
          static_cast<unsigned>(linear % plane / extent.x), static_cast<unsigned>(linear / plane)};
}

bool is_same_line(const Location& a, const Location& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

/// Shared memory of a block and the margins in it.
constexpr std::size_t arena_bytes = 512 << 10;

thread_local constinit Block* this_block = nullptr;

}  // namespace

Group& WarpRun::group(unsigned mask) {
  for (const auto& one : groups)
    if (one->mask == mask) return *one;
  groups.push_back(std::make_unique<Group>());
  groups.back()->mask = mask;
  return *groups.back();
}

// ---- The block's beginning --------------------------------------------------------------------

/// Everything about the threads that is the same in all blocks of a launch.
void Block::number_threads() {
  const dim3& extent = launch_->block;
  threads_.resize(volume(extent));
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    ThreadRun& thread = threads_[i];
    thread.index = position(i, extent);
    thread.lane = static_cast<unsigned>(i % 32);
    thread.warp = static_cast<unsigned>(i / 32);
    thread.block = &index_;
  }
  warps_.resize((threads_.size() + 31) / 32);
  async_.resize(threads_.size());
}

void Block::prepare(const Launch& launch, std::size_t number) {
  const bool is_new_shape = threads_.size() != volume(launch.block) ||
                            index_.extent.x != launch.block.x || index_.extent.y != launch.block.y;
  launch_ = &launch;
  index_ = {position(number, launch.grid), launch.block, launch.grid};
  if (is_new_shape) number_threads();
  for (ThreadRun& thread : threads_) thread.fiber = nullptr;
  for (std::size_t w = 0; w < warps_.size(); ++w) {
    const std::size_t lanes = std::min<std::size_t>(32, threads_.size() - w * 32);
    WarpRun& warp = warps_[w];
    warp.live = warp.ready = 0xffffffffU >> (32 - lanes);
    warp.at_barrier = 0;
    for (const auto& group : warp.groups) group->arrived = 0;
  }
  if (std::exchange(has_async_, false))
    for (AsyncQueue& queue : async_) queue = {};
  ended_ = at_barrier_ = 0;
  barrier_sum_ = 0;
  fault_.reset();
  idle_.clear();
  for (const auto& fiber : fibers_) idle_.push_back(fiber.get());
  random_ = order_seed() == 0 ? 0 : kernels::mix_key(order_seed(), number) | 1;

  if (!shared_) {
    shared_.reset(static_cast<unsigned char*>(std::aligned_alloc(128, arena_bytes)));
    if (!shared_) throw Fault("the executor got no memory for shared memory");
  }
  own_shared_memory(shared_.get(), arena_bytes);
  ++block_serial;
  static_bytes_ = 0;
  shared_used_ = 128;
  if (launch.dynamic_shared_bytes > 0) dynamic_ = add_shared(launch.dynamic_shared_bytes);
}

std::optional<std::string> Block::run(const Launch& launch, std::uint64_t launch_number,
                                      std::size_t number) {
  begin_checks(launch, launch_number, number);
  const struct AtReturn {
    ~AtReturn() { end_checks(); }
  } at_return;
  prepare(launch, number);
  leave(caller_, next(), false);
  const ThreadRun* last = std::exchange(running_, nullptr);
  self = nullptr;
  if (fault_) return sentence(*last, fault_->where, fault_->what);
  if (ended_ < threads_.size()) return stuck();
  return std::nullopt;
}

// ---- Turns ------------------------------------------------------------------------------------

/// One of the bits of `mask`: the lowest, or any.
unsigned Block::pick(unsigned mask) {
  if (random_ == 0) return static_cast<unsigned>(std::countr_zero(mask));
  random_ ^= random_ << 13;  // Marsaglia's xorshift
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  const auto first = static_cast<int>(random_ >> 59);
  return static_cast<unsigned>(std::countr_zero(std::rotr(mask, first)) + first) % 32;
}

/// The thread whose turn it is: one of the running thread's warp as long as one there is ready.
ThreadRun* Block::next() {
  if (fault_) return nullptr;
  std::size_t warp = running_ ? running_->warp : 0;
  if (!running_ || warps_[warp].ready == 0) {
    unsigned ready = 0;
    for (std::size_t w = 0; w < warps_.size(); ++w)
      if (warps_[w].ready != 0) ready |= 1U << w;
    if (ready == 0) return nullptr;
    warp = pick(ready);
  }
  const unsigned lane = pick(warps_[warp].ready);
  warps_[warp].ready &= ~(1U << lane);
  return &threads_[warp * 32 + lane];
}

void Block::enter(ThreadRun& thread) {
  running_ = &thread;
  self = &thread;
  own_memory(thread.fiber->stack, thread.fiber->stack_bytes);
}

Fiber* Block::idle_fiber() {
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(fibers_.size()));
    idle_.push_back(fibers_.back().get());
  }
  Fiber* fiber = idle_.back();
  if (!fiber->stack) {
    fibers_.pop_back();
    idle_.pop_back();
    const char* what = "the executor got no memory for another stack: use smaller blocks";
    if (!running_) throw Fault(what);
    fail(what, Site::nowhere());
  }
  idle_.pop_back();
  return fiber;
}

/// Goes on with thread `to`, or with the caller of run where there is none.
[[gnu::always_inline]] inline void Block::leave(Suspended& from, ThreadRun* to, bool has_ended) {
  if (!to) return switch_fiber(from, caller_, has_ended);
  if (!to->fiber) {
    to->fiber = idle_fiber();
    to->fiber->start(main_of_fiber);
  }
  enter(*to);
  switch_fiber(from, *to->fiber, has_ended);
}

/// Returns when the running thread has become ready and its turn has come.
[[gnu::always_inline]] inline void Block::wait() {
  leave(*running_->fiber, next(), false);
}

/// Runs threads one after the other, as long as the next one has not begun.
void Block::main_of_fiber() {
  Block& block = *this_block;
  Fiber& fiber = *block.running_->fiber;
  for (;;) {
    block.launch_->body(block.launch_->parameters.get());
    block.end_thread();
    ThreadRun* next = block.next();
    if (!next || next->fiber) {
      block.idle_.push_back(&fiber);
      block.leave(fiber, next, true);
    }
    next->fiber = &fiber;
    block.enter(*next);
  }
}

void Block::end_thread() {
  warps_[running_->warp].live &= ~(1U << running_->lane);
  ++ended_;
}

// ---- Barriers and collectives -----------------------------------------------------------------

[[gnu::always_inline]] inline int Block::barrier(int value, Location where) {
  ThreadRun& thread = *running_;
  if (at_barrier_ > 0 && !is_same_line(where, barrier_where_)) {
    std::string what = fmt::format(
        "waits at a barrier while other threads of the block wait at the one of {}: all threads "
        "have to reach the same barrier",
        to_text(barrier_where_));
    fail(std::move(what), where);
  }
  barrier_where_ = where;
  barrier_sum_ += value;
  if (++at_barrier_ == threads_.size()) {
    barrier_result_ = std::exchange(barrier_sum_, 0);
    at_barrier_ = 0;
    pass_barrier();
    for (WarpRun& warp : warps_) warp.ready |= std::exchange(warp.at_barrier, 0);
    return barrier_result_;
  }
  warps_[thread.warp].at_barrier |= 1U << thread.lane;
  thread.where = where;
  thread.waits_in = "__syncthreads";
  wait();
  return barrier_result_;
}

[[gnu::always_inline]] inline Slot* Block::collective(unsigned mask, const void* mine,
                                                      std::size_t size, const char* name,
                                                      Location where,
                                                      void (*combine)(Slot*, unsigned)) {
  ThreadRun& thread = *running_;
  const unsigned bit = 1U << thread.lane;
  if (!(mask & bit)) fail(fmt::format("{} with a mask that lacks the calling lane", name), where);
  WarpRun& warp = warps_[thread.warp];
  Group& group = warp.group(mask);
  if (group.arrived != 0 && !is_same_line(group.where, where)) {
    std::string what = fmt::format("{} while other lanes of its mask are in {} at {}", name,
                                   group.name, to_text(group.where));
    fail(std::move(what), where);
  }
  Slot* slots = group.slots[group.generation & 1];
  if (size > 0) std::memcpy(slots[thread.lane].bytes, mine, size);
  group.arrived |= bit;
  if (group.arrived == mask) {
    if (combine) combine(slots, mask);
    group.arrived = 0;
    ++group.generation;
    warp.ready |= mask & ~bit;
    return slots;
  }
  group.where = thread.where = where;
  group.name = thread.waits_in = name;
  thread.waits_for = mask;
  wait();
  return slots;
}

// ---- Faults -----------------------------------------------------------------------------------

std::string Block::sentence(const ThreadRun& thread, const Site& where,
                            const std::string& what) const {
  const std::string line = to_text(where);
  return fmt::format("{}, block {}, thread {}{}{}: {}", launch_->kernel, to_text(index_.index),
                     to_text(thread.index), line.empty() ? "" : " at ", line, what);
}

/// The thread's fiber is left as it is, without unwinding: what it holds must not be on the heap.
void Block::fail(std::string what, Site where) {
  fault_ = FaultNote{std::move(what), where};
  leave(*running_->fiber, nullptr, true);
  std::abort();
}

/// Why no thread can go on.
std::string Block::stuck() const {
  const ThreadRun* at_barrier = nullptr;
  const ThreadRun* elsewhere = nullptr;
  for (const ThreadRun& thread : threads_) {
    const WarpRun& warp = warps_[thread.warp];
    const unsigned bit = 1U << thread.lane;
    if (warp.at_barrier & bit) {
      if (!at_barrier) at_barrier = &thread;
      continue;
    }
    if (!elsewhere) elsewhere = &thread;
    if (!(warp.live & bit)) continue;
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned other_bit = 1U << lane;
      if (!(thread.waits_for & other_bit)) continue;
      const std::size_t other = thread.warp * 32 + lane;
      const bool is_waiting = (warp.live & other_bit) != 0;
      if (is_waiting && !(warp.at_barrier & other_bit) &&
          threads_[other].waits_for == thread.waits_for)
        continue;
      return sentence(
          thread, thread.where,
          is_waiting
              ? fmt::format("{} waits for lane {}, which waits in {} at {}", thread.waits_in, lane,
                            threads_[other].waits_in, to_text(threads_[other].where))
              : fmt::format("{} waits for lane {}, which {}", thread.waits_in, lane,
                            other < threads_.size() ? "has ended" : "the block does not have"));
    }
  }
  // Without a lane that waits for another in vain, part of the block waits at the barrier.
  return sentence(*at_barrier, at_barrier->where,
                  fmt::format("__syncthreads is reached by {} of {} threads of the block; thread "
                              "{} has ended without it",
                              at_barrier_, threads_.size(), to_text(elsewhere->index)));
}

// ---- Shared memory and asynchronous copies ----------------------------------------------------

/// Memory that nobody has written: NaN in every floating-point type.
void* Block::add_shared(std::size_t bytes) {
  unsigned char* data = shared_.get() + shared_used_;
  shared_used_ += (bytes + shared_margin + 15) / 16 * 16;
  if (shared_used_ > arena_bytes)
    fail("more shared arrays than the executor can hold", Site::nowhere());
  std::memset(data, 0xFF, bytes);
  add_shared_array(data, bytes);
  return data;
}

void* Block::add_static_shared(std::size_t bytes) {
  static_bytes_ += bytes;
  if (static_bytes_ > limits().usual_shared_bytes)
    fail(fmt::format("{} bytes of static shared memory, {} at most", static_bytes_,
                     limits().usual_shared_bytes),
         Site::nowhere());
  if (static_bytes_ + launch_->dynamic_shared_bytes > launch_->allowed_shared_bytes)
    fail(fmt::format("{} bytes of static and {} of dynamic shared memory, {} at most together",
                     static_bytes_, launch_->dynamic_shared_bytes, launch_->allowed_shared_bytes),
         Site::nowhere());
  return add_shared(bytes);
}

AsyncQueue& Block::async_queue() {
  has_async_ = true;
  return async_[running_ - threads_.data()];
}

// ---- What kernels call ------------------------------------------------------------------------

std::optional<std::string> run_block(const Launch& launch, std::uint64_t launch_number,
                                     std::size_t number) {
  thread_local Block block;
  this_block = &block;
  return block.run(launch, launch_number, number);
}

void fail(std::string what, Site where) {
  this_block->fail(std::move(what), where);
}

void fail(const char* what, Site where) {
  this_block->fail(what, where);
}

void fail_misaligned(std::size_t bytes) {
  std::string what = fmt::format("{} bytes at an address that is no multiple of {}", bytes, bytes);
  fail(std::move(what), Site(__builtin_return_address(0)));
}

int block_barrier(int value, Location where) {
  return this_block->barrier(value, where);
}

Slot* collective(unsigned mask, const void* mine, std::size_t size, const char* name,
                 Location where, void (*combine)(Slot*, unsigned)) {
  return this_block->collective(mask, mine, size, name, where, combine);
}

void warp_barrier(unsigned mask, Location where) {
  this_block->collective(mask, nullptr, 0, "__syncwarp", where, [](Slot*, unsigned arrived) {
    pass_warp_barrier(arrived, this_block->live_lanes());
  });
}

unsigned live_lanes() {
  return this_block->live_lanes();
}

void* dynamic_shared_memory() {
  return this_block->dynamic_shared();
}

void* static_shared_memory(SharedArrayState& array, std::size_t bytes) {
  if (array.serial != block_serial) array = {this_block->add_static_shared(bytes), block_serial};
  return array.data;
}

void async_copy(void* to, const void* from, std::size_t size, std::size_t bytes, Location where) {
  for (const void* address : {static_cast<const void*>(to), from})
    if (reinterpret_cast<std::uintptr_t>(address) % size != 0)
      fail(fmt::format("an asynchronous copy of {} bytes {} an address that is no multiple of {}",
                       size, address == to ? "to" : "from", size),
           where);
  if (bytes > 0) check_access(from, bytes, AccessKind::read, where);
  begin_async_write(to, size, where);
  std::memset(to, 0xFF, size);
  this_block->async_queue().copies.push_back({to, from, size, bytes, where});
}

void commit_async_copies() {
  AsyncQueue& queue = this_block->async_queue();
  queue.group_ends.push_back(queue.copies.size());
}

void wait_async_copies(int pending) {
  AsyncQueue& queue = this_block->async_queue();
  const auto groups = static_cast<std::ptrdiff_t>(queue.group_ends.size()) - pending;
  if (groups <= 0) return;
  const std::size_t done = queue.group_ends[groups - 1];
  for (std::size_t i = 0; i < done; ++i) {
    const AsyncCopy& copy = queue.copies[i];
    end_async_write(copy.to, copy.size, copy.where);
    if (copy.bytes > 0) std::memcpy(copy.to, copy.from, copy.bytes);
    std::memset(static_cast<unsigned char*>(copy.to) + copy.bytes, 0, copy.size - copy.bytes);
  }
  queue.copies.erase(queue.copies.begin(),
                     queue.copies.begin() + static_cast<std::ptrdiff_t>(done));
  queue.group_ends.erase(queue.group_ends.begin(), queue.group_ends.begin() + groups);
  for (std::size_t& end : queue.group_ends) end -= done;
}

}  // namespace anaphase::simt
