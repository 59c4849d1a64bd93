// SPDX-License-Identifier: Apache-2.0
#include "io/augment.hpp"

#include <doctest/doctest.h>
#include <cmath>
#include <map>
#include <vector>

using namespace anaphase::io;

namespace {

/// An image whose values are its mask's labels, all different.
Image numbered_image(int width, int height) {
  Image image{width, height, 1, {}};
  for (int i = 0; i < width * height; ++i) image.pixels.push_back(static_cast<float>(i));
  return image;
}
LabelMap numbered_mask(int width, int height) {
  LabelMap mask{width, height, {}};
  for (int i = 0; i < width * height; ++i) mask.labels.push_back(i);
  return mask;
}

}  // namespace

TEST_CASE("each flag does what it says") {
  const LabelMap mask = numbered_mask(3, 2);  // 0 1 2 / 3 4 5
  using Labels = std::vector<std::int32_t>;
  CHECK(augment(mask, {.flip_x = true}).labels == Labels{2, 1, 0, 5, 4, 3});
  CHECK(augment(mask, {.flip_y = true}).labels == Labels{3, 4, 5, 0, 1, 2});
  const LabelMap transposed = augment(mask, {.transpose = true});
  CHECK(transposed.labels == Labels{0, 3, 1, 4, 2, 5});
  CHECK(transposed.width == 2);
  CHECK(transposed.height == 3);
  // A quarter turn clockwise: the first column, read upwards, becomes the first row.
  CHECK(augment(mask, {.transpose = true, .flip_x = true}).labels == Labels{3, 0, 4, 1, 5, 2});
  CHECK(augment(mask, {}).labels == mask.labels);
}

TEST_CASE("image and mask stay aligned, and all 8 symmetries are about equally likely") {
  const Image image = numbered_image(4, 4);
  const LabelMap mask = numbered_mask(4, 4);
  std::map<std::vector<std::int32_t>, int> seen;
  for (std::uint64_t key = 0; key < 4000; ++key) {
    const Augmentation drawn = draw_augmentation(key, true);
    const LabelMap moved = augment(mask, drawn);
    const Image moved_image = augment(image, drawn);
    bool aligned = true;
    for (std::size_t i = 0; i < moved.labels.size(); ++i) {
      aligned = aligned && moved_image.pixels[i] == static_cast<float>(moved.labels[i]);
    }
    REQUIRE(aligned);
    ++seen[moved.labels];
  }
  CHECK(seen.size() == 8);
  for (const auto& [labels, count] : seen) CHECK(std::abs(count - 500) < 120);  // 5.7 deviations
}

TEST_CASE("oblong images are flipped only, with probability 0.75") {
  int flipped = 0;
  for (std::uint64_t key = 0; key < 2000; ++key) {
    const Augmentation drawn = draw_augmentation(key, false);
    REQUIRE(!drawn.transpose);
    if (drawn.flip_x || drawn.flip_y) ++flipped;
  }
  CHECK(std::abs(flipped - 1500) < 120);
}

TEST_CASE("a key fixes its augmentation, and options do not shift one another's draws") {
  for (std::uint64_t key = 0; key < 50; ++key) {
    const Augmentation a = draw_augmentation(key, true), b = draw_augmentation(key, true);
    const Augmentation jittered =
        draw_augmentation(key, true, {.brightness = 0.2, .contrast = 0.1});
    CHECK(a.transpose == b.transpose);
    CHECK(a.flip_x == b.flip_x);
    CHECK(a.flip_y == b.flip_y);
    CHECK(a.transpose == jittered.transpose);
    CHECK(a.flip_x == jittered.flip_x);
    CHECK(a.brightness == 0);
    CHECK(a.contrast == 1);
    CHECK(std::abs(jittered.brightness) <= 0.2F);
    CHECK(std::abs(jittered.contrast - 1) <= 0.1F);
    CHECK(jittered.brightness != 0);
  }
}

TEST_CASE("brightness and contrast act on each channel about its mean") {
  const Image image{2, 1, 3, {0.0F, 0.2F, 1.0F, 1.0F, 0.6F, 1.0F}};
  const Image out = augment(image, {.brightness = 0.1F, .contrast = 2.0F});
  const double expected[] = {0.5 + 2 * -0.5 + 0.1, 0.4 + 2 * -0.2 + 0.1, 1.1,
                             0.5 + 2 * 0.5 + 0.1,  0.4 + 2 * 0.2 + 0.1,  1.1};
  for (int i = 0; i < 6; ++i) CHECK(std::abs(out.pixels[i] - expected[i]) <= 1e-6);
}
