// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/kernels/simt/device_array.hpp"
#include "tests/kernels/simt/kernels.hpp"

using namespace anaphase;
using test::DeviceArray;

TEST_CASE("atomics of all threads of several blocks") {
  const int threads = 330;
  const DeviceArray<int> s(4);
  const DeviceArray<unsigned> u(std::vector<unsigned>{0, ~0U, 0, 0, 0, 0, 0});
  const DeviceArray<float> sum(1);
  test::atomics(s.data(), u.data(), sum.data());
  const int total = threads * (threads - 1) / 2;
  CHECK(s.values() == std::vector<int>{total, -total, 76, -76});
  // 330 increments of a counter that returns to 0 after 9; the first exchange and the first
  // comparison alone find 0.
  CHECK(u.values() == std::vector<unsigned>{0x1ffU, ~0x1ffU, threads % 10, 7, 1, 1, 1});
  CHECK(sum.values()[0] == 0.5F * threads);
}

TEST_CASE("atomics in shared memory") {
  std::vector<int> x(1000);
  std::vector<unsigned> expected(16);
  for (int i = 0; i < 1000; ++i) {
    x[i] = i * i % 16;
    ++expected[x[i]];
  }
  const DeviceArray<unsigned> counts(16);
  test::histogram(1000, DeviceArray(x).data(), counts.data());
  CHECK(counts.values() == expected);
}

TEST_CASE("the last block to end sums up what the others left behind a fence") {
  for (const std::uint64_t seed : {0, 1, 2}) {
    simt::set_order_seed(seed);
    std::vector<float> x(5000);
    std::iota(x.begin(), x.end(), 0.0F);
    const DeviceArray<float> in(x), partial(12), sum(1);
    const DeviceArray<unsigned> counter(1);
    test::sum_by_last_block(5000, in.data(), partial.data(), counter.data(), sum.data());
    CHECK(sum.values()[0] == 4999.0F * 2500);  // all sums are integers below 2^24
    CHECK(counter.values()[0] == 0);
  }
  simt::set_order_seed(0);
}

TEST_CASE("asynchronous copies in three stages") {
  for (const int count : {1, 4, 127, 128, 130, 255, 777}) {
    std::vector<float> x(count);
    std::iota(x.begin(), x.end(), 1.0F);
    const DeviceArray<float> in(x), out((count + 127) / 128 * 128);
    test::copy_in_stages(count, in.data(), out.data());
    x.resize(out.values().size());
    CHECK(out.values() == x);
  }
}

TEST_CASE("blocks may write neighbouring elements") {
  const DeviceArray<std::uint16_t> out(101);
  test::interleave(101, out.data());
  std::vector<std::uint16_t> expected(101);
  std::iota(expected.begin(), expected.end(), std::uint16_t{0});
  CHECK(out.values() == expected);
}

TEST_CASE("__syncwarp orders the lanes of its mask") {
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    simt::set_order_seed(seed);
    const DeviceArray<float> out(32);
    test::ordered_by_warp_barriers(out.data());
    CHECK(out.values() == std::vector<float>(32, 6.0F));
  }
  simt::set_order_seed(0);
}
