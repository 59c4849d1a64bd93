// SPDX-License-Identifier: Apache-2.0
#pragma once

// A block of CUDA threads on one thread of the operating system.

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/simt/executor.hpp"
#include "kernels/simt/fiber.hpp"

namespace anaphase::simt {

struct AsyncCopy {
  void* to;
  const void* from;
  std::size_t size, bytes;
  Location where;
};

/// A thread's copies under way, oldest first, and where their groups end.
struct AsyncQueue {
  std::vector<AsyncCopy> copies;
  std::vector<std::size_t> group_ends;
};

struct ThreadRun : Thread {
  Fiber* fiber = nullptr;     // null before its first turn
  Location where = {};        // of the barrier or collective it waits in
  const char* waits_in = "";  // its name
  unsigned waits_for = 0;     // lanes of the collective
};

/// Lanes that come together in collectives of one mask.
struct Group {
  unsigned mask = 0, arrived = 0;
  std::uint32_t generation = 0;
  Location where = {};
  const char* name = "";
  Slot slots[2][32];
};

/// Lanes in one of its masks: live until they end, ready when they can go on; a live lane that is
/// neither ready nor at the barrier nor running waits in a collective.
struct WarpRun {
  unsigned live = 0, ready = 0, at_barrier = 0;
  std::vector<std::unique_ptr<Group>> groups;

  Group& group(unsigned mask);
};

class Block {
 public:
  /// Runs block `number` of the launch; the message of the fault that ended it, or nothing.
  std::optional<std::string> run(const Launch& launch, std::uint64_t launch_number,
                                 std::size_t number);

  int barrier(int value, Location where);
  Slot* collective(unsigned mask, const void* mine, std::size_t size, const char* name,
                   Location where, void (*combine)(Slot*, unsigned));
  unsigned live_lanes() const { return warps_[running_->warp].live; }
  void* add_static_shared(std::size_t bytes);
  void* dynamic_shared() { return dynamic_; }
  AsyncQueue& async_queue();
  [[noreturn]] void fail(std::string what, Site where);

 private:
  void prepare(const Launch& launch, std::size_t number);
  void* add_shared(std::size_t bytes);
  void number_threads();
  unsigned pick(unsigned mask);
  ThreadRun* next();
  Fiber* idle_fiber();
  void enter(ThreadRun& thread);
  void wait();
  void end_thread();
  void leave(Suspended& from, ThreadRun* to, bool has_ended);
  static void main_of_fiber();
  std::string stuck() const;
  std::string sentence(const ThreadRun& thread, const Site& where, const std::string& what) const;

  const Launch* launch_ = nullptr;
  BlockIndex index_;
  std::vector<ThreadRun> threads_;
  std::vector<WarpRun> warps_;
  std::vector<AsyncQueue> async_;
  bool has_async_ = false;
  std::uint64_t random_ = 0;  // 0: turns are taken in order
  std::size_t ended_ = 0, at_barrier_ = 0;
  int barrier_sum_ = 0, barrier_result_ = 0;
  Location barrier_where_ = {};

  ThreadRun* running_ = nullptr;
  Suspended caller_;  // of run
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;

  struct FaultNote {
    std::string what;
    Site where;
  };
  std::optional<FaultNote> fault_;

  std::unique_ptr<unsigned char[], decltype(&std::free)> shared_{nullptr, &std::free};
  std::size_t shared_used_ = 0, static_bytes_ = 0;
  void* dynamic_ = nullptr;
};

/// Runs a block on the calling thread of the operating system.
std::optional<std::string> run_block(const Launch& launch, std::uint64_t launch_number,
                                     std::size_t number);

}  // namespace anaphase::simt
