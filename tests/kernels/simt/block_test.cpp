// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/simt/executor.hpp"
#include "tests/kernels/simt/device_array.hpp"
#include "tests/kernels/simt/kernels.hpp"

using namespace anaphase;
using test::DeviceArray;

TEST_CASE("indices and extents in three dimensions") {
  const simt::dim3 grid(3, 2, 4), block(5, 4, 3);
  const unsigned blocks = 24, threads = 60;
  const DeviceArray<unsigned> out(12 * blocks * threads);
  test::write_indices(grid, block, out.data());
  const std::vector<unsigned> values = out.values();
  for (unsigned b = 0; b < blocks; ++b)
    for (unsigned t = 0; t < threads; ++t) {
      const std::vector<unsigned> expected{t % 5, t / 5 % 4, t / 20, b % 3, b / 3 % 2, b / 6,
                                           5,     4,         3,      3,     2,         4};
      const auto begin = values.begin() + 12 * (b * threads + t);
      CHECK(std::equal(expected.begin(), expected.end(), begin));
    }
}

TEST_CASE("static and dynamic shared memory, in any order of turns") {
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    simt::set_order_seed(seed);
    const int count = 64 * 5 + 17;
    std::vector<float> x(count);
    std::iota(x.begin(), x.end(), 0.0F);
    const DeviceArray<float> array(x);
    test::reverse_blocks(count, array.data());
    for (int i = 0; i < count; ++i) {
      const int source = i / 64 * 64 + 63 - i % 64;
      CHECK(array.values()[i] == (source < count ? x[source] : -1.0F));
    }
  }
  simt::set_order_seed(0);
}

TEST_CASE("barriers that count, and, or") {
  std::vector<int> x(96);
  std::iota(x.begin(), x.end(), 0);
  for (const auto& [limit, count] : {std::pair(40, 55), {-1, 96}, {95, 0}, {94, 1}}) {
    const DeviceArray<int> in(x), out(3 * 96);
    test::count_in_block(in.data(), limit, out.data());
    for (int i = 0; i < 96; ++i) {
      CHECK(out.values()[3 * i] == count);
      CHECK(out.values()[3 * i + 1] == (count > 0 ? 1 : 0));
      CHECK(out.values()[3 * i + 2] == (count == 96 ? 1 : 0));
    }
  }
}

TEST_CASE("threads take turns as numbered, or in an order that the seed decides") {
  const auto order = [](std::uint64_t seed) {
    simt::set_order_seed(seed);
    const DeviceArray<int> out(64);
    test::order_of_turns(out.data());
    return out.values();
  };
  std::vector<int> as_numbered(64);
  std::iota(as_numbered.begin(), as_numbered.end(), 0);
  CHECK(order(0) == as_numbered);
  const std::vector<int> first = order(1);
  CHECK(first != as_numbered);
  CHECK(std::is_permutation(first.begin(), first.end(), as_numbered.begin()));
  CHECK(order(1) == first);
  CHECK(order(2) != first);
  simt::set_order_seed(0);
}
