// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <stdexcept>

#include "engine/ops/ops.hpp"
#include "engine/program.hpp"
#include "kernels/common/philox.hpp"

using namespace anaphase;
using namespace anaphase::engine;

namespace {

std::size_t rounded(std::size_t bytes) {
  return std::max<std::size_t>((bytes + 63) / 64 * 64, 64);
}

/// Bytes alive at the busiest call, by brute force.
std::size_t busiest(const std::vector<Lifetime>& lifetimes, std::size_t calls) {
  std::size_t most = 0;
  for (std::size_t call = 0; call < calls; ++call) {
    std::size_t live = 0;
    for (const Lifetime& life : lifetimes)
      if (life.first <= call && call <= life.last) live += rounded(life.bytes);
    most = std::max(most, live);
  }
  return most;
}

}  // namespace

TEST_CASE("plans of random lifetimes: disjoint, aligned, between the bounds, repeatable") {
  kernels::PhiloxStream random(2024);
  for (int round = 0; round < 300; ++round) {
    const int buffers = random.integer(0, 60), calls = random.integer(1, 40);
    std::vector<Lifetime> lifetimes(buffers);
    std::size_t total = 0;
    for (Lifetime& life : lifetimes) {
      const int first = random.integer(0, calls);
      const bool small = random.integer(0, 3) == 0;
      life = {static_cast<std::size_t>(random.integer(0, small ? 65 : 5000)),
              static_cast<std::size_t>(first),
              static_cast<std::size_t>(std::min(calls - 1, first + random.integer(0, 8)))};
      total += rounded(life.bytes);
    }
    std::vector<std::size_t> offsets, again;
    const std::size_t peak = plan_offsets(lifetimes, offsets);
    REQUIRE(offsets.size() == lifetimes.size());
    CHECK(peak >= busiest(lifetimes, calls));
    CHECK(peak <= total);
    CHECK(plan_offsets(lifetimes, again) == peak);
    CHECK(again == offsets);
    std::size_t end = 0, misplaced = 0;
    for (int i = 0; i < buffers; ++i) {
      const Lifetime& a = lifetimes[i];
      end = std::max(end, offsets[i] + rounded(a.bytes));
      if (offsets[i] % 64 != 0) ++misplaced;
      for (int j = 0; j < i; ++j) {
        const Lifetime& b = lifetimes[j];
        const bool together = a.first <= b.last && b.first <= a.last;
        const bool disjoint = offsets[i] + rounded(a.bytes) <= offsets[j] ||
                              offsets[j] + rounded(b.bytes) <= offsets[i];
        if (together && !disjoint) ++misplaced;
      }
    }
    CHECK(misplaced == 0);
    CHECK(end == peak);
  }
}

TEST_CASE("a chain needs two buffers' room, a fan all of it") {
  std::vector<std::size_t> offsets;
  std::vector<Lifetime> chain, fan;
  for (std::size_t i = 0; i < 10; ++i) {
    chain.push_back({128, i, i + 1});
    fan.push_back({128, i, 10});
  }
  CHECK(plan_offsets(chain, offsets) == 256);
  CHECK(plan_offsets(fan, offsets) == 1280);
  CHECK(plan_offsets({}, offsets) == 0);
}

TEST_CASE("a gap between two buffers is used again") {
  std::vector<std::size_t> offsets;
  // The third dies at call 1; the fourth fits in its place, between the others.
  const std::vector<Lifetime> lifetimes = {{640, 0, 5}, {512, 0, 1}, {256, 0, 5}, {200, 2, 5}};
  CHECK(plan_offsets(lifetimes, offsets) == 640 + 512 + 256);
  CHECK(offsets[3] == 640);
}

TEST_CASE("a program plans what its calls touch, and nothing else") {
  Trace trace(Device::cpu());
  Tape tape(trace, Tape::Mode::infer);
  const Tensor input = make_tensor(Device::cpu(), {100}, DType::f32);
  Tensor y = input;
  for (int i = 0; i < 6; ++i) y = add_scaled(tape, y, {}, 2);
  const Tensor unused = tape.allocate({1000}, DType::f32);
  CHECK(y.data() == nullptr);
  Program program = trace.finish({y, input});
  CHECK(program.plan().calls == 6);
  CHECK(program.plan().buffers == 6);
  CHECK(program.plan().total_bytes == 6 * 448);
  CHECK(program.plan().peak_bytes == 2 * 448);
  CHECK(unused.data() == nullptr);
  upload(input, std::vector<float>(100, 1));
  program.replay();
  CHECK(download(y) == std::vector<float>(100, 64));
  CHECK(download(input) == std::vector<float>(100, 1));
}

TEST_CASE("results keep their place to the end, other values may lose theirs") {
  Trace trace(Device::cpu());
  Tape tape(trace, Tape::Mode::infer);
  const Tensor input = make_tensor(Device::cpu(), {16}, DType::f32);
  std::vector<Tensor> values{input};
  for (int i = 0; i < 8; ++i) values.push_back(add_scaled(tape, values.back(), {}, 2));
  Program program = trace.finish({values[2], values[5], values[8]});
  upload(input, std::vector<float>(16, 1));
  program.replay();
  CHECK(download(values[2]) == std::vector<float>(16, 4));
  CHECK(download(values[5]) == std::vector<float>(16, 32));
  CHECK(download(values[8]) == std::vector<float>(16, 256));
  CHECK(program.plan().peak_bytes < program.plan().total_bytes);
}

TEST_CASE("reading what no call has written is an error in the program") {
  Trace trace(Device::cpu());
  Tape tape(trace, Tape::Mode::infer);
  const Tensor never = tape.allocate({4}, DType::f32);
  SUBCASE("by a call") {
    const Tensor y = add_scaled(tape, never, {});
    CHECK_THROWS_AS(trace.finish({y}), std::logic_error);
  }
  SUBCASE("as a result") {
    CHECK_THROWS_AS(trace.finish({never}), std::logic_error);
  }
}
