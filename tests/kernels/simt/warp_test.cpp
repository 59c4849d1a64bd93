// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <numeric>
#include <utility>
#include <vector>

#include "tests/kernels/simt/device_array.hpp"
#include "tests/kernels/simt/kernels.hpp"

using namespace anaphase;
using test::DeviceArray;
using test::ShuffleKind;

TEST_CASE("shuffles of all kinds and widths") {
  std::vector<double> in(32);
  std::iota(in.begin(), in.end(), 0.5);
  const DeviceArray<double> x(in);
  for (const int width : {2, 4, 8, 16, 32})
    for (const int distance : {0, 1, 2, 3, 5, 8, 15, 16, 31})
      for (const ShuffleKind kind :
           {ShuffleKind::to, ShuffleKind::up, ShuffleKind::down, ShuffleKind::exclusive_or}) {
        const DeviceArray<double> out(32);
        test::shuffle(kind, distance, width, x.data(), out.data());
        for (int lane = 0; lane < 32; ++lane) {
          // CUDA C++ Programming Guide, "Warp Shuffle Functions": groups of `width` lanes.
          const int group = lane / width, place = lane % width;
          int source = lane;
          if (kind == ShuffleKind::to) source = group * width + distance % width;
          if (kind == ShuffleKind::up && place >= distance) source = lane - distance;
          if (kind == ShuffleKind::down && place + distance < width) source = lane + distance;
          if (kind == ShuffleKind::exclusive_or && (lane ^ distance) / width <= group)
            source = lane ^ distance;
          CAPTURE(static_cast<int>(kind));
          CAPTURE(width);
          CAPTURE(distance);
          CHECK(out.values()[lane] == in[source]);
        }
      }
}

TEST_CASE("votes of whole warps and of parts") {
  for (const unsigned mask : {0xffffffffU, 0xffffU, 0x80000001U, 0x00010000U})
    for (const int limit : {0, 1, 16, 31, 32}) {
      const DeviceArray<unsigned> out(3 * 32);
      test::vote(mask, limit, out.data());
      const unsigned ballot = limit == 32 ? 0 : mask & (0xffffffffU << limit);
      for (int lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1U)) continue;
        CHECK(out.values()[3 * lane] == ballot);
        CHECK(out.values()[3 * lane + 1] == (ballot != 0 ? 1 : 0));
        CHECK(out.values()[3 * lane + 2] == (ballot == mask ? 1 : 0));
      }
    }
}

TEST_CASE("matches of 64-bit values") {
  std::vector<std::uint64_t> x(32);
  for (int lane = 0; lane < 32; ++lane) x[lane] = (lane % 3 + 1ULL) << 40;
  const DeviceArray<unsigned> out(3 * 32);
  test::match(DeviceArray(x).data(), out.data());
  for (int lane = 0; lane < 32; ++lane) {
    unsigned same = 0;
    for (int other = 0; other < 32; ++other)
      if (other % 3 == lane % 3) same |= 1U << other;
    CHECK(out.values()[3 * lane] == same);
    CHECK(out.values()[3 * lane + 1] == 0);
    CHECK(out.values()[3 * lane + 2] == 0);
  }
  test::match(DeviceArray(std::vector<std::uint64_t>(32, 7)).data(), out.data());
  for (int lane = 0; lane < 32; ++lane) {
    CHECK(out.values()[3 * lane + 1] == 0xffffffffU);
    CHECK(out.values()[3 * lane + 2] == 1);
  }
}

TEST_CASE("the active mask lacks lanes that have ended") {
  const DeviceArray<unsigned> out(1);
  test::active_lanes(20, out.data());
  CHECK((out.values()[0] >> 31) == 1);
  CHECK((out.values()[0] & 0xfffffU) == 0);
}
