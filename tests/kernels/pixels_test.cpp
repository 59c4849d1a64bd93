// SPDX-License-Identifier: Apache-2.0
#include "kernels/pixels/pixels.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/kernels/contract.hpp"

namespace anaphase::test {
using namespace kernels;

namespace {

struct Size {
  int n, h, w, c;
  int start = 0;                   // bytes before the first pixel
  int row_gap = 0, image_gap = 0;  // bytes after a row and after an image
  std::int64_t row_stride() const { return std::int64_t{w} * c + row_gap; }
  std::int64_t image_stride() const { return h * row_stride() + image_gap; }
  std::int64_t bytes() const { return start + n * image_stride(); }
};

/// Any bytes, as the words that an arena holds.
std::uint8_t* bytes_in(Arena& m, std::int64_t count) {
  std::vector<std::uint64_t> words((count + 7) / 8);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = 0x9E3779B97F4A7C15U * (i + 1);
  return reinterpret_cast<std::uint8_t*>(m.keys("pixels", words));
}

/// Compared to the last bit, the bytes between the rows too.
std::uint8_t* bytes_out(Arena& m, std::int64_t count) {
  return reinterpret_cast<std::uint8_t*>(m.label_output("mask", (count + 3) / 4));
}

}  // namespace

TEST_CASE("pixels are normalised by channel, whatever their strides") {
  // x / (255 std) and mean / std are at most 10 and 8 here, each within two roundings (2^-23), and
  // their difference may be anything: together 18 * 2^-23 < 2^-18.
  const Tolerance tolerance{.relative = 0x1p-23, .absolute = 0x1p-18};
  for (const Size s :
       {Size{1, 1, 1, 1}, Size{2, 3, 5, 3, 1, 2, 7}, Size{1, 7, 16, 1}, Size{3, 4, 8, 3, 3, 5, 0},
        Size{2, 33, 17, 2}, Size{1, 5, 512, 3, 0, 64}, Size{1, 300, 7, 1, 0, 1}}) {
    CAPTURE(s.w);
    CAPTURE(s.c);
    for_each_target([&](const Target& target) {
      const auto build = [&](Arena& m) {
        return NormalisePixels{.n = s.n,
                               .h = s.h,
                               .w = s.w,
                               .c = s.c,
                               .type = m.type(),
                               .row_stride = s.row_stride(),
                               .image_stride = s.image_stride(),
                               .x = bytes_in(m, s.bytes()) + s.start,
                               .mean = m.param_input("mean", s.c, 0.2, 0.8),
                               .std = m.param_input("std", s.c, 0.1, 0.5),
                               .y = m.output("y", std::int64_t{s.n} * s.h * s.w * s.c)};
      };
      compare(target, build, tolerance);
      compare_thread_counts(target, build);
    });
  }
}

TEST_CASE("the largest class of every pixel, and nothing between the rows") {
  for (const Size s : {Size{1, 1, 1, 1}, Size{2, 3, 5, 1, 1, 2, 7}, Size{1, 9, 300, 1, 0, 3},
                       Size{3, 33, 17, 1}}) {
    for (const int classes : {1, 2, 4, 255}) {
      CAPTURE(s.w);
      CAPTURE(classes);
      for_each_target([&](const Target& target) {
        const auto build = [&](Arena& m) {
          return LargestClass{.n = s.n,
                              .h = s.h,
                              .w = s.w,
                              .classes = classes,
                              .type = m.type(),
                              .p = m.param_input("p", std::int64_t{s.n} * s.h * s.w * classes),
                              .row_stride = s.row_stride(),
                              .image_stride = s.image_stride(),
                              .mask = bytes_out(m, s.bytes()) + s.start};
        };
        compare(target, build, {.relative = 0, .bf16_relative = 0});
        compare_thread_counts(target, build);
      });
    }
  }
}

TEST_CASE("the first of equals wins, and NaN neither wins nor loses") {
  const std::vector<double> p{0.5, 0.5, 0.2, 0.1, 0.4, 0.4, NAN, 1, 2, 1, NAN, 2};
  for_each_target([&](const Target& target) {
    compare(target,
            [&](Arena& m) {
              return LargestClass{.w = 4,
                                  .classes = 3,
                                  .type = m.type(),
                                  .p = m.param_input("p", p),
                                  .row_stride = 4,
                                  .image_stride = 4,
                                  .mask = bytes_out(m, 4)};
            },
            {.relative = 0, .bf16_relative = 0});
  });
  std::uint8_t mask[4];
  run(Reference{},
      LargestClass{
          .w = 4, .classes = 3, .p = p.data(), .row_stride = 4, .image_stride = 4, .mask = mask});
  CHECK(mask[0] == 0);
  CHECK(mask[1] == 1);
  CHECK(mask[2] == 0);
  CHECK(mask[3] == 2);
}

}  // namespace anaphase::test
