// SPDX-License-Identifier: Apache-2.0
#pragma once

// Runs CUDA kernels on a CPU. Every CUDA thread is a fiber; a block's fibers share one thread of
// the operating system, and blocks run on all cores. A fiber runs until it waits: at a barrier of
// the block, or in a warp's collective (shuffle, vote, matrix instruction), which the last lane to
// arrive completes.
//
// What a GPU would leave undefined ends the launch with an error that names the kernel, block,
// thread and line: a barrier that part of the block never reaches, a collective that waits for a
// lane that has left, a value from a lane that takes no part, more threads or shared memory than a
// block may have. Kernels compiled with -DANAPHASE_SIMT_CHECK report every memory access to
// kernels/simt/memory_check.cpp, which finds accesses out of bounds, misaligned, of unwritten
// shared memory, and races. docs/kernels.md says what is modelled and what is not.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace anaphase::simt {

/// Whether the kernels of this file report their accesses to memory.
#if defined(__SANITIZE_THREAD__)
constexpr bool is_checked = true;
#else
constexpr bool is_checked = false;
#endif

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

/// What went wrong in a kernel, as one sentence.
class Fault : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The limits of the device that the executor stands for, those of compute capability 8.0 unless
/// the environment variable ANAPHASE_SIMT_ARCH names another (75, 80, 86, 89, 90, 100, 120).
struct Limits {
  int major = 8, minor = 0;
  std::size_t usual_shared_bytes = 48 << 10;  // of a block, static and dynamic
  std::size_t shared_bytes = 163 << 10;       // likewise, for kernels that ask for it
  unsigned block_threads = 1024;
};
const Limits& limits();
/// Stands for another device from now on: 75 for compute capability 7.5, and so on. No kernel may
/// be running.
void set_architecture(int arch);

/// The order in which blocks, warps and lanes take turns: as numbered for 0, shuffled for any other
/// seed. Starts as the environment variable ANAPHASE_SIMT_SEED.
void set_order_seed(std::uint64_t seed);
std::uint64_t order_seed();

struct Launch {
  std::string_view kernel;  // its name, for messages and the list of kernels that ran
  dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
  std::size_t allowed_shared_bytes = 48 << 10;     // more with MaxDynamicSharedMemorySize
  bool is_checked = false;                         // whether its accesses to memory are reported
  void (*body)(const void* parameters) = nullptr;  // the kernel, called once for each thread
  std::shared_ptr<const void> parameters;
  std::size_t parameter_bytes = 0;
};

/// Runs all blocks; returns when they have ended. Throws Fault.
void execute(const Launch& launch);

/// "name<float, 4>" of the kernel that a template instantiated with it reports as its own name.
std::string_view kernel_name(std::string_view function);
/// Tells the list of kernels that ran of one that could; returns its name.
std::string_view add_kernel(std::string_view name);

struct BlockIndex {
  dim3 index, extent, grid_extent;
};
/// The CUDA thread that is running; null outside of kernels.
struct Thread {
  dim3 index;
  unsigned lane = 0, warp = 0;
  const BlockIndex* block = nullptr;
};
extern thread_local constinit Thread* self;

/// A line of a kernel's source: of the call, where it is a default argument. (std::source_location
/// is not there for clang-tidy 14.)
struct Location {
  const char* file = "";
  unsigned line = 0;
  static constexpr Location current(const char* file = __builtin_FILE(),
                                    unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

/// A place in a kernel: a line, or the machine code that a line was compiled to.
struct Site {
  Location line;
  const void* code = nullptr;
  Site(Location where) : line(where) {}  // NOLINT(google-explicit-constructor)
  explicit Site(const void* return_address) : code(return_address) {}
  static Site nowhere() { return Site(nullptr); }
};

/// Ends the launch with a fault of the calling thread.
[[noreturn]] void fail(std::string what, Site where);
[[noreturn]] void fail(const char* what, Site where);

/// A fault where the address is no multiple of the size of what is loaded or stored there at once.
[[noreturn]] void fail_misaligned(std::size_t bytes);
inline void require_aligned(const void* address, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0) [[unlikely]]
    fail_misaligned(bytes);
}

// Barriers and collectives, called from kernels.

/// __syncthreads and its forms: the sum of `value` over the block's threads.
int block_barrier(int value, Location where);

/// What a lane gives to a collective and gets from it.
struct alignas(16) Slot {
  unsigned char bytes[64];
};
/// Waits until all lanes of `mask` have come to a collective, runs `combine(slots, mask)` once, and
/// returns all 32 slots, which stay until the calling thread's next collective. `mine` (size bytes)
/// is the caller's slot.
Slot* collective(unsigned mask, const void* mine, std::size_t size, const char* name,
                 Location where, void (*combine)(Slot* slots, unsigned mask) = nullptr);

/// __syncwarp: alone among the collectives, it orders accesses to memory.
void warp_barrier(unsigned mask, Location where);

/// Lanes of the calling thread's warp that have not ended.
unsigned live_lanes();

// Memory.

/// The block's dynamic shared memory.
void* dynamic_shared_memory();
/// Counts the blocks that this thread of the operating system has begun.
extern thread_local constinit std::uint64_t block_serial;
/// A static array, and the block in which it got its memory.
struct SharedArrayState {
  void* data;
  std::uint64_t serial;
};
/// Its memory in the running block; fills it with NaN the first time.
void* static_shared_memory(SharedArrayState& array, std::size_t bytes);

/// Atomic compare and exchange of 4 or 8 bytes, checked; `expected` gets what was there.
bool compare_exchange(void* address, std::size_t bytes, void* expected, const void* desired,
                      Location where);

/// cp.async: `size` bytes, of which `bytes` are those of `from` and the rest zeros. They are NaN
/// until they are waited for.
void async_copy(void* to, const void* from, std::size_t size, std::size_t bytes,
                Location where = Location::current());
void commit_async_copies();
/// Waits until at most `pending` of the newest groups are under way.
void wait_async_copies(int pending);

}  // namespace anaphase::simt
