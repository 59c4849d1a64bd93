// SPDX-License-Identifier: Apache-2.0
#include "io/resize.hpp"

#include <doctest/doctest.h>
#include <array>
#include <cmath>
#include <vector>

using namespace anaphase::io;

namespace {

/// The formula of the header, written for one pixel at a time.
double brute_force(const Image& image, int width, int height, int x, int y, int c) {
  const double scale_x = static_cast<double>(image.width) / width;
  const double scale_y = static_cast<double>(image.height) / height;
  const auto weight = [](int j, int i, double scale) {
    return std::max(0.0, 1 - std::abs(j + 0.5 - (i + 0.5) * scale) / std::max(1.0, scale));
  };
  double sum = 0, total = 0;
  for (int v = 0; v < image.height; ++v) {
    for (int u = 0; u < image.width; ++u) {
      const double w = weight(u, x, scale_x) * weight(v, y, scale_y);
      total += w;
      sum += w * image.pixels[(v * image.width + u) * image.channels + c];
    }
  }
  return sum / total;
}

Image noise(int width, int height, int channels) {
  Image image{width, height, channels, {}};
  unsigned state = 7;
  for (int i = 0; i < width * height * channels; ++i) {
    state = state * 1664525U + 1013904223U;
    image.pixels.push_back(static_cast<float>(state >> 8) / 16777216.0F);
  }
  return image;
}

}  // namespace

TEST_CASE("bilinear resizing is its formula") {
  for (const auto [in_w, in_h, out_w, out_h] : {std::array{7, 5, 3, 2},
                                                {5, 9, 13, 4},
                                                {1, 1, 4, 3},
                                                {8, 8, 1, 1},
                                                {6, 4, 6, 4},
                                                {3, 2, 7, 11}}) {
    for (const int channels : {1, 3}) {
      const Image image = noise(in_w, in_h, channels);
      const Image out = resize_bilinear(image, out_w, out_h);
      REQUIRE(out.width == out_w);
      REQUIRE(out.height == out_h);
      REQUIRE(out.pixels.size() == static_cast<std::size_t>(out_w * out_h * channels));
      for (int y = 0; y < out_h; ++y) {
        for (int x = 0; x < out_w; ++x) {
          for (int c = 0; c < channels; ++c) {
            const double got = out.pixels[(y * out_w + x) * channels + c];
            CHECK(std::abs(got - brute_force(image, out_w, out_h, x, y, c)) <= 1e-6);
          }
        }
      }
    }
  }
}

TEST_CASE("hand-worked bilinear values") {
  // Doubling {0, 1}: centres at 0.25, 0.75, 1.25, 1.75 between pixel centres 0.5 and 1.5.
  const Image doubled = resize_bilinear({2, 1, 1, {0, 1}}, 4, 1);
  const std::vector<float> expected{0, 0.25F, 0.75F, 1};
  CHECK(doubled.pixels == expected);
  // Halving {0, 0, 8, 8}: triangle of radius 2 around 1, with weights 3/4, 3/4, 1/4 on pixels 0
  // to 2.
  const Image halved = resize_bilinear({4, 1, 1, {0, 0, 8, 8}}, 2, 1);
  CHECK(std::abs(halved.pixels[0] - 8.0 * 0.25 / 1.75) <= 1e-6);
  CHECK(std::abs(halved.pixels[1] - 8.0 * 1.5 / 1.75) <= 1e-6);
}

TEST_CASE("nearest resizing takes the pixel under the centre") {
  const LabelMap labels{3, 2, {1, 2, 3, 4, 5, 6}};
  CHECK(resize_nearest(labels, 6, 4).labels == std::vector<std::int32_t>{1, 1, 2, 2, 3, 3, 1, 1,
                                                                         2, 2, 3, 3, 4, 4, 5, 5,
                                                                         6, 6, 4, 4, 5, 5, 6, 6});
  CHECK(resize_nearest(labels, 1, 1).labels == std::vector<std::int32_t>{5});
  CHECK(resize_nearest(labels, 2, 2).labels == std::vector<std::int32_t>{1, 3, 4, 6});
  CHECK(resize_nearest({1, 1, {9}}, 2, 3).labels == std::vector<std::int32_t>(6, 9));
  CHECK(resize_nearest(labels, 3, 2).labels == labels.labels);
}
