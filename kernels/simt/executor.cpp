// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/executor.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <optional>

#include "kernels/common/philox.hpp"
#include "kernels/simt/block.hpp"
#include "kernels/simt/coverage.hpp"
#include "kernels/simt/site.hpp"

namespace anaphase::simt {
namespace {

/// Threads of the operating system that run blocks: each may keep 1024 stacks with a guard page,
/// and Linux gives a process 65530 mappings.
constexpr int most_workers = 24;

constexpr std::size_t volume(const dim3& v) {
  return std::size_t{v.x} * v.y * v.z;
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
  const std::size_t allowed = std::min(launch.allowed_shared_bytes, limits().shared_bytes);
  if (launch.dynamic_shared_bytes > allowed)
    refuse(fmt::format("{} bytes of dynamic shared memory; {} are allowed",
                       launch.dynamic_shared_bytes, allowed));
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
  if (self) fail("a kernel launches another, which the executor does not model", Site::nowhere());
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
  const auto workers =
      static_cast<int>(std::min<std::int64_t>({omp_get_max_threads(), most_workers, blocks}));
#pragma omp parallel for schedule(dynamic, 1) num_threads(workers) if (workers > 1)
  for (std::int64_t i = 0; i < blocks; ++i) {
    if (stop) continue;
    std::optional<std::string> message;
    try {
      message = run_block(launch, number, (i * stride + offset) % blocks);
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

}  // namespace anaphase::simt
