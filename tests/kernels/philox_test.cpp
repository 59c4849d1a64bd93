// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/philox.hpp"

#include <doctest/doctest.h>

#include <set>

namespace anaphase::test {
using namespace kernels;

namespace {

void check_lanes(const PhiloxBlock& block, const std::array<std::uint32_t, 4>& expected) {
  for (int i = 0; i < 4; ++i) CHECK(block.lane[i] == expected[i]);
}

}  // namespace

TEST_CASE("philox gives the published known answers") {
  // kat_vectors of the Random123 distribution, philox4x32 with 10 rounds.
  check_lanes(philox4x32(0, 0, 0, 0, 0), {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check_lanes(philox4x32(~0ULL, ~0U, ~0U, ~0U, ~0U),
              {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check_lanes(philox4x32(0x299f31d0a4093822ULL, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344),
              {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a draw's block is the counter's lower half, the draw its third word") {
  const std::uint64_t key = 0x299f31d0a4093822ULL;
  const PhiloxBlock block = philox(key, 0x85a308d3243f6a88ULL, 0x13198a2e);
  const PhiloxBlock same = philox4x32(key, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0);
  for (int i = 0; i < 4; ++i) CHECK(block.lane[i] == same.lane[i]);
}

TEST_CASE("uniform numbers are strictly between 0 and 1") {
  CHECK(uniform_from_bits(0) == 0x1p-24F);
  CHECK(uniform_from_bits(~0U) == 1 - 0x1p-24F);
  CHECK(uniform_from_bits(1U << 31) == 0.5F + 0x1p-24F);
}

TEST_CASE("integers cover [low, high)") {
  CHECK(integer_from_bits(0, -3, 5) == -3);
  CHECK(integer_from_bits(~0U, -3, 5) == 4);
  CHECK(integer_from_bits(1U << 31, 0, 10) == 5);
  CHECK(integer_from_bits(~0U, -2147483647 - 1, 2147483647) == 2147483646);
}

TEST_CASE("a stream reads its blocks in order, lane by lane") {
  PhiloxStream stream(7, 3);
  for (std::uint64_t block = 0; block < 3; ++block)
    for (const std::uint32_t lane : philox(7, block, 3).lane) CHECK(stream.bits() == lane);
}

TEST_CASE("mixed keys differ") {
  std::set<std::uint64_t> keys;
  for (std::uint64_t key = 0; key < 32; ++key)
    for (std::uint64_t value = 0; value < 32; ++value) keys.insert(mix_key(key, value));
  CHECK(keys.size() == 32 * 32);
}

}  // namespace anaphase::test
