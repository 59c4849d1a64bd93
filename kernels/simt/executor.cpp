// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/executor.hpp"

#include <fmt/format.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/common/philox.hpp"
#include "kernels/simt/coverage.hpp"
#include "kernels/simt/memory_check.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace anaphase::simt {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

thread_local constinit Thread* self = nullptr;
thread_local constinit std::uint64_t block_serial = 0;

namespace {

std::string to_text(const dim3& v) {
  return fmt::format("({}, {}, {})", v.x, v.y, v.z);
}

std::string to_text(Location where) {
  const std::string_view path = where.file_name();
  return fmt::format("{}:{}", path.substr(path.find_last_of('/') + 1), where.line());
}

constexpr std::size_t volume(const dim3& v) {
  return std::size_t{v.x} * v.y * v.z;
}

dim3 position(std::size_t linear, const dim3& extent) {
  const auto plane = std::size_t{extent.x} * extent.y;
  return {static_cast<unsigned>(linear % extent.x),
          static_cast<unsigned>(linear % plane / extent.x), static_cast<unsigned>(linear / plane)};
}

// ---- Fibers -----------------------------------------------------------------------------------

/// A stack with a page below it that faults, and the context that waits on it.
class Fiber {
 public:
  Fiber() {
    memory_ = static_cast<unsigned char*>(mmap(nullptr, guard + size, PROT_READ | PROT_WRITE,
                                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory_ == MAP_FAILED || mprotect(memory_, guard, PROT_NONE) != 0)
      throw Fault(
          "the executor of CUDA kernels got no memory for another stack: use smaller blocks");
  }
  ~Fiber() { munmap(memory_, guard + size); }
  Fiber(const Fiber&) = delete;

  const unsigned char* stack() const { return memory_ + guard; }
  void start(void (*main)(transfer_t)) {
    context = make_fcontext(memory_ + guard + size, size, main);
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(memory_ + guard, size);
#endif
  }

  fcontext_t context = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  static constexpr std::size_t size = 256 << 10;
#else
  static constexpr std::size_t size = 64 << 10;
#endif

 private:
  static constexpr std::size_t guard = 4096;
  unsigned char* memory_;
};

enum class State : unsigned char { unstarted, ready, at_barrier, in_collective, ended };

struct AsyncCopy {
  void* to;
  const void* from;
  std::size_t size, bytes;
};

/// Copies under way, oldest first, and where their groups end.
struct AsyncQueue {
  std::vector<AsyncCopy> copies;
  std::vector<std::size_t> group_ends;
};

struct ThreadRun : Thread {
  State state = State::unstarted;
  Fiber* fiber = nullptr;
  Location where = {};        // of the barrier or collective it waits in
  const char* waits_in = "";  // its name
  unsigned waits_for = 0;     // lanes of the collective
  AsyncQueue async;
};

/// Lanes that come together in collectives of one mask.
struct Group {
  unsigned mask = 0, arrived = 0;
  std::uint32_t generation = 0;
  Location where = {};
  Slot slots[2][32];
};

struct WarpRun {
  unsigned live = 0;  // lanes that have not ended
  std::vector<std::unique_ptr<Group>> groups;

  void reset() {
    live = 0;
    for (const auto& group : groups) group->arrived = 0;
  }

  Group& group(unsigned mask) {
    for (const auto& one : groups)
      if (one->mask == mask) return *one;
    groups.push_back(std::make_unique<Group>());
    groups.back()->mask = mask;
    return *groups.back();
  }
};

// ---- A block on a thread of the operating system ----------------------------------------------

class BlockRun {
 public:
  /// Runs block `number` of the launch; the message of the fault that ended it, or nothing.
  std::optional<std::string> run(const Launch& launch, std::uint64_t launch_number,
                                 std::size_t number);

  int barrier(int value, Location where);
  Slot* collective(unsigned mask, const void* mine, std::size_t size, const char* name,
                   Location where, void (*combine)(Slot*, unsigned));
  unsigned live_lanes() const { return warps_[running_->warp].live; }
  void add_static_shared(void* data, std::size_t bytes);
  void* dynamic_shared() { return dynamic_.get(); }
  ThreadRun& running() { return *running_; }
  [[noreturn]] void fail(const std::string& what, Location where);

 private:
  static void fiber_main(transfer_t from);
  void prepare(std::size_t number);
  void shuffle_order(std::size_t number);
  ThreadRun* next_unstarted();
  void resume(ThreadRun& thread);
  void enter(ThreadRun& thread);
  void wait();
  bool advance();
  void end_thread();
  std::string stuck() const;
  std::string place(const ThreadRun& thread) const;

  const Launch* launch_ = nullptr;
  std::size_t number_ = 0;
  std::vector<ThreadRun> threads_;
  std::vector<WarpRun> warps_;
  std::vector<std::uint32_t> order_;  // of the threads' turns
  std::size_t started_ = 0;           // threads of `order_` that have begun
  std::size_t ended_ = 0, at_barrier_ = 0;
  int barrier_sum_ = 0, barrier_result_ = 0;
  Location barrier_where_ = {};
  std::optional<std::string> fault_;

  ThreadRun* running_ = nullptr;
  fcontext_t scheduler_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
#if defined(__SANITIZE_ADDRESS__)
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_size_ = 0;
#endif

  std::size_t static_bytes_ = 0;  // of shared memory, so far
  std::unique_ptr<unsigned char[], decltype(&std::free)> dynamic_{nullptr, &std::free};
  std::size_t dynamic_bytes_ = 0;
};

BlockRun& this_block() {
  thread_local BlockRun block;
  return block;
}

/// Shared memory nobody has written: NaN in every floating-point type.
void poison(void* data, std::size_t bytes) {
  std::memset(data, 0xFF, bytes);
  add_shared_range(data, bytes);
}

void BlockRun::add_static_shared(void* data, std::size_t bytes) {
  static_bytes_ += bytes;
  if (static_bytes_ > limits().static_shared_bytes)
    fail(fmt::format("{} bytes of static shared memory, {} at most", static_bytes_,
                     limits().static_shared_bytes),
         Location::current());
  poison(data, bytes);
}

void BlockRun::shuffle_order(std::size_t number) {
  const std::size_t count = threads_.size();
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), 0);
  if (order_seed() == 0) return;
  kernels::PhiloxStream random(kernels::mix_key(order_seed(), number));
  const auto shuffle = [&](auto begin, std::size_t n) {
    for (std::size_t i = n; i > 1; --i)
      std::swap(begin[i - 1], begin[random.integer(0, static_cast<std::int32_t>(i))]);
  };
  std::vector<std::uint32_t> warps(warps_.size());
  std::iota(warps.begin(), warps.end(), 0);
  shuffle(warps.begin(), warps.size());
  std::size_t at = 0;
  for (const std::uint32_t warp : warps) {
    const std::size_t lanes = std::min<std::size_t>(32, count - warp * 32);
    for (std::size_t lane = 0; lane < lanes; ++lane)
      order_[at + lane] = static_cast<std::uint32_t>(warp * 32 + lane);
    shuffle(order_.begin() + static_cast<std::ptrdiff_t>(at), lanes);
    at += lanes;
  }
}

void BlockRun::prepare(std::size_t number) {
  const Launch& launch = *launch_;
  number_ = number;
  const std::size_t count = volume(launch.block);
  threads_.resize(count);
  warps_.resize((count + 31) / 32);
  for (WarpRun& warp : warps_) warp.reset();
  const dim3 block = position(number, launch.grid);
  for (std::size_t i = 0; i < count; ++i) {
    ThreadRun& thread = threads_[i];
    thread.state = State::unstarted;
    thread.warp_epoch = 0;
    thread.has_used_atomics = false;
    thread.async.copies.clear();
    thread.async.group_ends.clear();
    thread.index = position(i, launch.block);
    thread.block_index = block;
    thread.block_extent = launch.block;
    thread.grid_extent = launch.grid;
    thread.lane = static_cast<unsigned>(i % 32);
    thread.warp = static_cast<unsigned>(i / 32);
    warps_[thread.warp].live |= 1U << thread.lane;
  }
  started_ = ended_ = at_barrier_ = 0;
  barrier_sum_ = 0;
  fault_.reset();
  idle_.clear();
  for (const auto& fiber : fibers_) idle_.push_back(fiber.get());
  shuffle_order(number);

  clear_shared_ranges();
  if (launch.dynamic_shared_bytes > dynamic_bytes_) {
    dynamic_bytes_ = (launch.dynamic_shared_bytes + 127) / 128 * 128;
    dynamic_.reset(static_cast<unsigned char*>(std::aligned_alloc(128, dynamic_bytes_)));
    if (!dynamic_) throw Fault("the executor of CUDA kernels got no memory for shared memory");
  }
  if (launch.dynamic_shared_bytes > 0) poison(dynamic_.get(), launch.dynamic_shared_bytes);
  static_bytes_ = 0;
  ++block_serial;
}

std::optional<std::string> BlockRun::run(const Launch& launch, std::uint64_t launch_number,
                                         std::size_t number) {
  launch_ = &launch;
  block_memory = {.launch = launch_number, .block = static_cast<std::uint32_t>(number)};
  prepare(number);
  while (ended_ < threads_.size() && !fault_)
    if (!advance() && !fault_) fault_ = stuck();
  self = nullptr;
  running_ = nullptr;
  return fault_;
}

/// Gives every thread that can go on its turn, warp by warp until the warp waits; false when none
/// could.
bool BlockRun::advance() {
  bool any = false;
  for (std::size_t begin = 0; begin < order_.size() && !fault_;) {
    const unsigned warp = threads_[order_[begin]].warp;
    std::size_t end = begin;
    while (end < order_.size() && threads_[order_[end]].warp == warp) ++end;
    for (bool moved = true; moved && !fault_;) {
      moved = false;
      for (std::size_t i = begin; i < end && !fault_; ++i) {
        ThreadRun& thread = threads_[order_[i]];
        if (thread.state != State::ready && thread.state != State::unstarted) continue;
        resume(thread);
        moved = any = true;
      }
    }
    begin = end;
  }
  return any;
}

ThreadRun* BlockRun::next_unstarted() {
  while (started_ < order_.size()) {
    ThreadRun& thread = threads_[order_[started_]];
    if (thread.state == State::unstarted) return &thread;
    ++started_;
  }
  return nullptr;
}

void BlockRun::enter(ThreadRun& thread) {
  running_ = &thread;
  self = &thread;
  block_memory.stack = thread.fiber->stack();
  block_memory.stack_bytes = Fiber::size;
}

/// Switches from the scheduler to a thread, on a fiber of its own.
void BlockRun::resume(ThreadRun& thread) {
  if (thread.state == State::unstarted) {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>());
      idle_.push_back(fibers_.back().get());
    }
    thread.fiber = idle_.back();
    idle_.pop_back();
    thread.fiber->start(fiber_main);
  }
  thread.state = State::ready;
  enter(thread);
  Fiber& fiber = *thread.fiber;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, fiber.stack(), Fiber::size);
#endif
  const transfer_t back = jump_fcontext(fiber.context, this);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
  // The thread that ran last: a fiber goes on with the next thread when one ends.
  if (running_->state == State::ended || fault_)
    idle_.push_back(running_->fiber);
  else
    running_->fiber->context = back.fctx;
}

/// Switches from the running thread to the scheduler, until the thread is resumed.
void BlockRun::wait() {
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  const bool is_last = running_->state == State::ended || fault_;
  __sanitizer_start_switch_fiber(is_last ? nullptr : &fake_stack, scheduler_stack_,
                                 scheduler_stack_size_);
#endif
  const transfer_t back = jump_fcontext(scheduler_, nullptr);
  scheduler_ = back.fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, &scheduler_stack_, &scheduler_stack_size_);
#endif
}

/// Runs threads that have not begun, one after the other, until one of them waits.
void BlockRun::fiber_main(transfer_t from) {
  BlockRun& block = *static_cast<BlockRun*>(from.data);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack_, &block.scheduler_stack_size_);
#endif
  block.scheduler_ = from.fctx;
  for (ThreadRun* thread = block.running_; thread;) {
    Fiber* fiber = thread->fiber;
    block.launch_->body();
    block.end_thread();
    thread = block.next_unstarted();
    if (!thread) break;
    thread->fiber = fiber;
    thread->state = State::ready;
    block.enter(*thread);
  }
  block.wait();
}

void BlockRun::end_thread() {
  running_->state = State::ended;
  warps_[running_->warp].live &= ~(1U << running_->lane);
  ++ended_;
}

int BlockRun::barrier(int value, Location where) {
  ThreadRun& thread = *running_;
  if (at_barrier_ > 0 && (where.line() != barrier_where_.line() ||
                          std::strcmp(where.file_name(), barrier_where_.file_name()) != 0))
    fail(fmt::format("waits at a barrier while other threads of the block wait at the one of {}: "
                     "all threads have to reach the same barrier",
                     to_text(barrier_where_)),
         where);
  barrier_where_ = where;
  barrier_sum_ += value;
  if (++at_barrier_ == threads_.size()) {
    barrier_result_ = std::exchange(barrier_sum_, 0);
    at_barrier_ = 0;
    ++block_memory.epoch;
    for (ThreadRun& other : threads_)
      if (other.state == State::at_barrier) other.state = State::ready;
    return barrier_result_;
  }
  thread.state = State::at_barrier;
  thread.where = where;
  thread.waits_in = "__syncthreads";
  const int* result = &barrier_result_;
  wait();
  return *result;
}

Slot* BlockRun::collective(unsigned mask, const void* mine, std::size_t size, const char* name,
                           Location where, void (*combine)(Slot*, unsigned)) {
  ThreadRun& thread = *running_;
  const unsigned bit = 1U << thread.lane;
  if (!(mask & bit)) fail(fmt::format("{} with a mask that lacks the calling lane", name), where);
  Group& group = warps_[thread.warp].group(mask);
  if (group.arrived == 0) group.where = where;
  if (group.where.line() != where.line())
    fail(fmt::format("{} while other lanes of its mask are at {}", name, to_text(group.where)),
         where);
  Slot* slots = group.slots[group.generation & 1];
  if (size > 0) std::memcpy(slots[thread.lane].bytes, mine, size);
  group.arrived |= bit;
  ++thread.warp_epoch;
  if (group.arrived == mask) {
    if (combine) combine(slots, mask);
    group.arrived = 0;
    ++group.generation;
    const unsigned first = thread.warp * 32;
    for (unsigned lane = 0; lane < 32; ++lane)
      if (lane != thread.lane && (mask >> lane & 1U)) threads_[first + lane].state = State::ready;
    return slots;
  }
  thread.state = State::in_collective;
  thread.where = where;
  thread.waits_in = name;
  thread.waits_for = mask;
  wait();
  return slots;
}

std::string BlockRun::place(const ThreadRun& thread) const {
  return fmt::format("{}, block {}, thread {}", launch_->kernel, to_text(thread.block_index),
                     to_text(thread.index));
}

void BlockRun::fail(const std::string& what, Location where) {
  fault_ = fmt::format("{} at {}: {}", place(*running_), to_text(where), what);
  wait();
  std::abort();  // nobody resumes a thread of a block that failed
}

/// Why no thread can go on.
std::string BlockRun::stuck() const {
  for (const ThreadRun& thread : threads_) {
    if (thread.state != State::in_collective) continue;
    const unsigned live = warps_[thread.warp].live;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (!(thread.waits_for >> lane & 1U)) continue;
      const std::size_t other = thread.warp * 32 + lane;
      if (other >= threads_.size() || !(live >> lane & 1U))
        return fmt::format("{} at {}: {} waits for lane {}, which has ended or does not exist",
                           place(thread), to_text(thread.where), thread.waits_in, lane);
      if (threads_[other].state == State::at_barrier)
        return fmt::format("{} at {}: {} waits for lane {}, which waits at the barrier of {}",
                           place(thread), to_text(thread.where), thread.waits_in, lane,
                           to_text(threads_[other].where));
    }
  }
  const auto waits = std::find_if(threads_.begin(), threads_.end(),
                                  [](const auto& t) { return t.state == State::at_barrier; });
  const auto left = std::find_if(threads_.begin(), threads_.end(),
                                 [](const auto& t) { return t.state != State::at_barrier; });
  if (waits == threads_.end()) return fmt::format("{}: no thread can go on", launch_->kernel);
  return fmt::format(
      "{} at {}: __syncthreads is reached by {} of {} threads of the block; thread {} has {}",
      place(*waits), to_text(waits->where), at_barrier_, threads_.size(), to_text(left->index),
      left->state == State::ended ? "ended without it" : "not come");
}

std::atomic<std::uint64_t> launches{0};
std::atomic<std::uint64_t> seed_of_order{[] {
  const char* seed = std::getenv("ANAPHASE_SIMT_SEED");
  return seed ? std::strtoull(seed, nullptr, 10) : 0ULL;
}()};

Limits limits_of(int arch) {
  Limits limits;
  limits.major = arch / 10;
  limits.minor = arch % 10;
  // Shared memory a block may have, CUDA C++ Programming Guide, table of compute capabilities.
  switch (arch) {
    case 75:
      limits.shared_bytes = 64 << 10;
      break;
    case 80:
      break;
    case 86:
    case 89:
    case 120:
      limits.shared_bytes = 99 << 10;
      break;
    case 90:
    case 100:
      limits.shared_bytes = 227 << 10;
      break;
    default:
      throw Fault(
          fmt::format("ANAPHASE_SIMT_ARCH is {}: use 75, 80, 86, 89, 90, 100 or 120", arch));
  }
  return limits;
}

Limits& current_limits() {
  static Limits current = [] {
    const char* named = std::getenv("ANAPHASE_SIMT_ARCH");
    return limits_of(named ? std::atoi(named) : 80);
  }();
  return current;
}

void check_limits(const Launch& launch) {
  const auto refuse = [&](const std::string& what) {
    throw Fault(fmt::format("{}: {}", launch.kernel, what));
  };
  const dim3 &grid = launch.grid, &block = launch.block;
  const std::size_t threads = volume(block);
  if (threads == 0 || threads > limits().block_threads || block.z > 64)
    refuse(fmt::format("a block of {} threads; 1 to {} are possible, 64 in z", to_text(block),
                       limits().block_threads));
  if (volume(grid) == 0 || grid.x > 0x7fffffffU || grid.y > 65535 || grid.z > 65535)
    refuse(
        fmt::format("a grid of {} blocks; at least 1 and at most (2147483647, 65535, 65535) are "
                    "possible",
                    to_text(grid)));
  if (launch.dynamic_shared_bytes > launch.allowed_dynamic_bytes ||
      launch.dynamic_shared_bytes > limits().shared_bytes)
    refuse(fmt::format("{} bytes of dynamic shared memory; {} are allowed",
                       launch.dynamic_shared_bytes,
                       std::min(launch.allowed_dynamic_bytes, limits().shared_bytes)));
}

}  // namespace

const Limits& limits() {
  return current_limits();
}

void set_architecture(int arch) {
  current_limits() = limits_of(arch);
}

void set_order_seed(std::uint64_t seed) {
  seed_of_order = seed;
}

std::uint64_t order_seed() {
  return seed_of_order;
}

void execute(const Launch& launch) {
  if (self)
    throw Fault(fmt::format("{} launched from a kernel, which is not modelled", launch.kernel));
  check_limits(launch);
  note_kernel(launch.kernel);
  const std::uint64_t number = ++launches;
  const auto blocks = static_cast<std::int64_t>(volume(launch.grid));
  // Blocks in shuffled order: a multiplier without a common factor runs through all of them.
  std::int64_t stride = 1, offset = 0;
  if (order_seed() != 0 && blocks > 1) {
    kernels::PhiloxStream random(kernels::mix_key(order_seed(), number));
    offset = random.bits() % blocks;
    do stride = random.bits() % std::min(blocks, std::int64_t{1} << 30);  // i * stride fits
    while (std::gcd(stride, blocks) != 1);
  }
  std::mutex mutex;
  std::optional<std::string> fault;
  std::atomic<bool> stop{false};
#pragma omp parallel for schedule(dynamic, 1) if (blocks > 1)
  for (std::int64_t i = 0; i < blocks; ++i) {
    if (stop) continue;
    std::optional<std::string> message;
    try {
      message = this_block().run(launch, number, (i * stride + offset) % blocks);
    } catch (const std::exception& error) {
      message = error.what();
    }
    if (!message) continue;
    const std::lock_guard lock(mutex);
    if (!fault) fault = std::move(message);
    stop = true;
  }
  if (fault) throw Fault(*fault);
}

std::string_view kernel_name(std::string_view function) {
  // GCC writes "... [with auto Kernel = anaphase::kernels::{anonymous}::name<T>; ...]", clang
  // "[Kernel = &anaphase::...]".
  const std::string_view key = "Kernel = ";
  std::size_t begin = function.find(key);
  if (begin == std::string_view::npos) return function;
  begin += key.size();
  int depth = 0;
  std::size_t end = begin, last = begin;
  for (; end < function.size(); ++end) {
    const char c = function[end];
    if (c == '<' || c == '(') ++depth;
    if (depth == 0 && (c == ';' || c == ']' || c == ',')) break;
    if (c == '>' || c == ')') --depth;
    if (depth == 0 && c == ':') last = end + 1;
  }
  return function.substr(last, end - last);
}

int block_barrier(int value, Location where) {
  return this_block().barrier(value, where);
}

Slot* collective(unsigned mask, const void* mine, std::size_t size, const char* name,
                 Location where, void (*combine)(Slot*, unsigned)) {
  return this_block().collective(mask, mine, size, name, where, combine);
}

unsigned live_lanes() {
  return this_block().live_lanes();
}

void fail(const std::string& what, Location where) {
  this_block().fail(what, where);
}

void* dynamic_shared_memory() {
  return this_block().dynamic_shared();
}

void add_static_shared(void* data, std::size_t bytes) {
  this_block().add_static_shared(data, bytes);
}

void async_copy(void* to, const void* from, std::size_t size, std::size_t bytes) {
  if (bytes > 0) check_access(from, bytes, false);
  this_block().running().async.copies.push_back({to, from, size, bytes});
}

void commit_async_copies() {
  AsyncQueue& queue = this_block().running().async;
  queue.group_ends.push_back(queue.copies.size());
}

void wait_async_copies(int pending) {
  AsyncQueue& queue = this_block().running().async;
  const auto groups = static_cast<std::ptrdiff_t>(queue.group_ends.size()) - pending;
  if (groups <= 0) return;
  const std::size_t done = queue.group_ends[groups - 1];
  for (std::size_t i = 0; i < done; ++i) {
    const AsyncCopy& copy = queue.copies[i];
    check_access(copy.to, copy.size, true);
    if (copy.bytes > 0) std::memcpy(copy.to, copy.from, copy.bytes);
    std::memset(static_cast<unsigned char*>(copy.to) + copy.bytes, 0, copy.size - copy.bytes);
  }
  queue.copies.erase(queue.copies.begin(),
                     queue.copies.begin() + static_cast<std::ptrdiff_t>(done));
  queue.group_ends.erase(queue.group_ends.begin(), queue.group_ends.begin() + groups);
  for (std::size_t& end : queue.group_ends) end -= done;
}

}  // namespace anaphase::simt
