// SPDX-License-Identifier: Apache-2.0
#include "kernels/concat/concat.hpp"

#include <doctest/doctest.h>

#include "tests/kernels/contract.hpp"

namespace anaphase::test {
using namespace kernels;

TEST_CASE("concat joins the channels of two tensors and split undoes it") {
  struct Size {
    int rows, a, b;
  };
  for (const Size s : {Size{1, 1, 1}, Size{3, 2, 5}, Size{129, 17, 1}, Size{4097, 16, 33},
                       // units of 4, 8 and 16 bytes on a GPU
                       Size{33, 2, 6}, Size{33, 4, 12}, Size{127, 8, 24}, Size{7, 1000, 40}}) {
    CAPTURE(s.rows);
    for_each_target([&](const Target& target) {
      const Tolerance exact{.relative = 0, .bf16_relative = 0};
      compare(
          target,
          [&](Arena& m) {
            return Concat{.rows = s.rows,
                          .channels_a = s.a,
                          .channels_b = s.b,
                          .type = m.type(),
                          .a = m.input("a", s.rows * s.a),
                          .b = m.input("b", s.rows * s.b),
                          .y = m.output("y", s.rows * (s.a + s.b))};
          },
          exact);
      compare(
          target,
          [&](Arena& m) {
            return Split{.rows = s.rows,
                         .channels_a = s.a,
                         .channels_b = s.b,
                         .type = m.type(),
                         .y = m.input("y", s.rows * (s.a + s.b)),
                         .a = m.output("a", s.rows * s.a),
                         .b = m.output("b", s.rows * s.b)};
          },
          exact);
    });
  }
}

TEST_CASE("split leaves out what is not wanted") {
  for_each_target([](const Target& target) {
    for (const bool first : {true, false})
      compare(target,
              [&](Arena& m) {
                return Split{.rows = 5,
                             .channels_a = 3,
                             .channels_b = 2,
                             .type = m.type(),
                             .y = m.input("y", 25),
                             .a = first ? m.output("a", 15) : nullptr,
                             .b = first ? nullptr : m.output("b", 10)};
              },
              {.relative = 0, .bf16_relative = 0});
  });
}

}  // namespace anaphase::test
