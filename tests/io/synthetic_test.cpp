// SPDX-License-Identifier: Apache-2.0
#include "io/synthetic.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>

#include "kernels/common/error.hpp"
#include "tests/io/temporary_folder.hpp"

namespace {

using namespace anaphase;
using namespace anaphase::io;
using anaphase::io::testing::TemporaryFolder;
namespace fs = std::filesystem;

int to_byte(float value) {
  return int(std::lround(value * 255.F));
}

/// FNV-1a over the 8-bit picture and its mask.
std::uint64_t checksum(const SyntheticImage& made) {
  std::uint64_t hash = 0xCBF29CE484222325;
  const auto add = [&](int byte) { hash = (hash ^ std::uint64_t(byte)) * 0x100000001B3; };
  for (float value : made.image.pixels) add(to_byte(value));
  for (std::int32_t label : made.mask.labels) add(label);
  return hash;
}

/// The best Dice that any threshold on any channel reaches over several images together, bright or
/// dark side taken as foreground.
double best_threshold_dice(SyntheticKind kind, int images) {
  double best = 0.;
  const int channels = kind == SyntheticKind::glands ? 3 : 1;
  for (int channel = 0; channel < channels; ++channel) {
    double inside[256] = {}, outside[256] = {}, foreground = 0.;
    for (int index = 0; index < images; ++index) {
      const auto [image, mask] = synthesise(kind, 96, 5, index);
      for (std::size_t i = 0; i < mask.labels.size(); ++i) {
        (mask.labels[i] ? inside : outside)[to_byte(image.pixels[i * channels + channel])] += 1.;
        foreground += mask.labels[i];
      }
    }
    for (const bool bright : {false, true}) {
      double hit = 0., chosen = 0.;
      for (int level = 0; level < 256; ++level) {
        const int value = bright ? 255 - level : level;
        hit += inside[value];
        chosen += inside[value] + outside[value];
        best = std::max(best, 2. * hit / (chosen + foreground));
      }
    }
  }
  return best;
}

}  // namespace

TEST_CASE("synthetic: shapes, ranges and both classes") {
  for (const SyntheticKind kind : {SyntheticKind::glands, SyntheticKind::nuclei}) {
    for (const int size : {16, 37, 96}) {
      const auto [image, mask] = synthesise(kind, size, 3, 1);
      CHECK(image.width == size);
      CHECK(image.height == size);
      CHECK(image.channels == (kind == SyntheticKind::glands ? 3 : 1));
      REQUIRE(image.pixels.size() == std::size_t(size) * size * image.channels);
      REQUIRE(mask.labels.size() == std::size_t(size) * size);
      CHECK(std::all_of(image.pixels.begin(), image.pixels.end(),
                        [](float value) { return value >= 0.F && value <= 1.F; }));
      const auto foreground = std::count(mask.labels.begin(), mask.labels.end(), 1);
      const auto background = std::count(mask.labels.begin(), mask.labels.end(), 0);
      CHECK(foreground > 0);
      CHECK(background > 0);
      CHECK(foreground + background == std::ptrdiff_t(size) * size);
    }
  }
}

TEST_CASE("synthetic: the picture depends on seed, number and kind alone") {
  std::set<std::uint64_t> distinct;
  for (const SyntheticKind kind : {SyntheticKind::glands, SyntheticKind::nuclei}) {
    for (const std::uint64_t seed : {1, 2}) {
      for (const std::uint64_t index : {0, 1}) {
        const auto sum = checksum(synthesise(kind, 48, seed, index));
        CHECK(sum == checksum(synthesise(kind, 48, seed, index)));
        distinct.insert(sum);
      }
    }
  }
  CHECK(distinct.size() == 8);
}

TEST_CASE("synthetic: the pictures of a seed stay what they are, on every machine") {
  CHECK(checksum(synthesise(SyntheticKind::glands, 64, 7, 0)) == 364923001969526771U);
  CHECK(checksum(synthesise(SyntheticKind::nuclei, 64, 7, 0)) == 16466526567470290805U);
}

TEST_CASE("synthetic: glands cannot be told by a threshold, nuclei only roughly") {
  const double glands = best_threshold_dice(SyntheticKind::glands, 20);
  const double nuclei = best_threshold_dice(SyntheticKind::nuclei, 20);
  INFO("best threshold: Dice ", glands, " on glands, ", nuclei, " on nuclei");
  CHECK(glands < 0.65);
  CHECK(nuclei > 0.6);
  CHECK(nuclei < 0.93);
}

TEST_CASE("synthetic: a data set on disk") {
  const TemporaryFolder temporary;
  const fs::path folder = temporary / "set";
  const auto [train, val] = write_synthetic_dataset(folder, {SyntheticKind::nuclei, 6, 24, 11});
  CHECK(train == 5);
  CHECK(val == 1);
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.insert(fs::relative(entry.path(), folder).string());
  CHECK(files.size() == 12);
  CHECK(files.count("train/image/synth_0001.png") == 1);
  CHECK(files.count("train/mask/synth_0005.png") == 1);
  CHECK(files.count("val/image/synth_0006.png") == 1);
  CHECK(files.count("val/mask/synth_0006.png") == 1);

  const auto made = synthesise(SyntheticKind::nuclei, 24, 11, 5);
  const Image image = read_image(folder / "val/image/synth_0006.png");
  REQUIRE(image.channels == 1);
  REQUIRE(image.pixels.size() == made.image.pixels.size());
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    CHECK(to_byte(image.pixels[i]) == to_byte(made.image.pixels[i]));
  CHECK(read_mask(folder / "val/mask/synth_0006.png", 2).labels == made.mask.labels);
  CHECK(*std::max_element(made.mask.labels.begin(), made.mask.labels.end()) == 1);
}

TEST_CASE("synthetic: what is on disk is never touched, and a failure leaves nothing") {
  const TemporaryFolder temporary;
  const SyntheticDataset small{SyntheticKind::glands, 2, 16, 0};
  const fs::path used = temporary / "used";
  io::testing::write_bytes(used / "mine.txt", "mine");
  CHECK_THROWS_AS(write_synthetic_dataset(used, small), Error);
  CHECK_THROWS_AS(write_synthetic_dataset(used / "mine.txt", small), Error);
  CHECK(std::distance(fs::directory_iterator(used), {}) == 1);

  const fs::path fresh = temporary / "fresh";
  CHECK_THROWS_AS(write_synthetic_dataset(fresh, {SyntheticKind::glands, 1, 32, 0}), Error);
  CHECK_THROWS_AS(write_synthetic_dataset(fresh, {SyntheticKind::glands, 4, 15, 0}), Error);
  CHECK_THROWS_AS(write_synthetic_dataset(fresh, {SyntheticKind::glands, 4, 9000, 0}), Error);
  CHECK(std::distance(fs::directory_iterator(temporary.path()), {}) == 1);  // "used" alone

  fs::create_directories(fresh);  // an empty folder is as good as a new one
  write_synthetic_dataset(fresh, small);
  CHECK(fs::exists(fresh / "val/mask/synth_0002.png"));
}
