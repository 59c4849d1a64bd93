// SPDX-License-Identifier: Apache-2.0
#include "io/dataset.hpp"

#include <doctest/doctest.h>
#include <cmath>
#include <cstdlib>

#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;
namespace fs = std::filesystem;

namespace {

void put_image(const fs::path& path, int width, int height, float value, int channels = 1) {
  fs::create_directories(path.parent_path());
  write_png(path, {width, height, channels,
                   std::vector<float>(static_cast<std::size_t>(width) * height * channels, value)});
}

void put_mask(const fs::path& path, int width, int height, std::vector<std::int32_t> labels,
              bool as_0_255 = false) {
  fs::create_directories(path.parent_path());
  write_mask(path, {width, height, std::move(labels)}, as_0_255);
}

std::string list_error(const TemporaryFolder& folder, MaskRule rule = MaskRule::required) {
  return error_of([&] { list_split(folder.path(), "train", rule); });
}

}  // namespace

TEST_CASE("samples are listed by name with their masks") {
  const TemporaryFolder folder;
  for (const char* name : {"b", "a10", "a9"}) {
    put_image(folder / ("train/image/" + std::string(name) + ".png"), 2, 2, 0.5F);
    put_mask(folder / ("train/mask/" + std::string(name) + ".PNG"), 2, 2, {0, 1, 0, 1});
  }
  write_bytes(folder / "train/image/.DS_Store", "x");
  write_bytes(folder / "train/image/notes.txt", "x");
  const auto samples = list_split(folder.path(), "train", MaskRule::required);
  REQUIRE(samples.size() == 3);
  CHECK(samples[0].name == "a10");
  CHECK(samples[1].name == "a9");
  CHECK(samples[2].name == "b");
  CHECK(samples[2].mask == folder / "train/mask/b.PNG");
  CHECK(has_split(folder.path(), "train"));
  CHECK(!has_split(folder.path(), "val"));
}

TEST_CASE("masks may be missing only where that is allowed") {
  const TemporaryFolder folder;
  put_image(folder / "train/image/a.png", 2, 2, 0.5F);
  put_image(folder / "train/image/b.png", 2, 2, 0.5F);
  const auto unlabelled = list_split(folder.path(), "train", MaskRule::optional);
  CHECK(unlabelled.size() == 2);
  CHECK(!unlabelled[0].mask);
  CHECK(contains(list_error(folder), (folder / "train/mask").string()));

  put_mask(folder / "train/mask/b.png", 2, 2, {0, 0, 0, 0});
  CHECK(contains(list_error(folder), "a.png has no mask"));
  const auto some = list_split(folder.path(), "train", MaskRule::optional);
  CHECK(!some[0].mask);
  CHECK(some[1].mask);

  put_mask(folder / "train/mask/c.png", 2, 2, {0, 0, 0, 0});
  CHECK(contains(list_error(folder, MaskRule::optional), "c.png has no image"));
}

TEST_CASE("folders that are missing, empty or ambiguous") {
  const TemporaryFolder folder;
  CHECK(contains(error_of([&] { list_split(folder / "none", "train", MaskRule::required); }),
                 "no data set folder"));
  CHECK(contains(list_error(folder), "no folder " + (folder / "train/image").string()));
  fs::create_directories(folder / "train/image");
  CHECK(contains(list_error(folder), "holds no image"));
  put_image(folder / "train/image/a.png", 2, 2, 0.5F);
  put_image(folder / "train/image/a.bmp", 2, 2, 0.5F);
  const std::string message = list_error(folder);
  CHECK(contains(message, "a.png"));
  CHECK(contains(message, "a.bmp"));
  CHECK(contains(message, "same name"));
}

TEST_CASE("images to segment come from files and folders") {
  const TemporaryFolder folder;
  put_image(folder / "in/b.png", 2, 2, 0.5F);
  put_image(folder / "in/a.png", 2, 2, 0.5F);
  put_image(folder / "c.png", 2, 2, 0.5F);
  const std::vector<fs::path> paths{folder / "c.png", folder / "in"};
  const auto samples = list_images(paths);
  REQUIRE(samples.size() == 3);
  CHECK(samples[0].name == "c");
  CHECK(samples[1].name == "a");
  CHECK(samples[2].name == "b");

  put_image(folder / "in/c.png", 2, 2, 0.5F);
  CHECK(contains(error_of([&] { list_images(paths); }), "under the name c"));
  const std::vector<fs::path> missing{folder / "no"};
  CHECK(contains(error_of([&] { list_images(missing); }), "no such file or folder"));
}

TEST_CASE("a sample is loaded, converted and resized") {
  const TemporaryFolder folder;
  put_image(folder / "train/image/a.png", 6, 4, 0.4F);
  put_mask(folder / "train/mask/a.png", 6, 4, std::vector<std::int32_t>(24, 1), true);
  const Sample sample = list_split(folder.path(), "train", MaskRule::required).front();
  const LoadedSample loaded = load_sample(sample, {.size = 3, .channels = 3, .classes = 2});
  CHECK(loaded.original_width == 6);
  CHECK(loaded.original_height == 4);
  CHECK(loaded.image.width == 3);
  CHECK(loaded.image.height == 3);
  CHECK(loaded.image.pixels.size() == 27);
  CHECK(loaded.image.pixels[26] == doctest::Approx(0.4));
  CHECK(loaded.mask.labels == std::vector<std::int32_t>(9, 1));

  const LoadedSample whole = load_sample(sample, {.size = 0, .channels = 1, .classes = 2});
  CHECK(whole.image.width == 6);
  CHECK(whole.mask.labels.size() == 24);

  put_mask(folder / "train/mask/a.png", 4, 6, std::vector<std::int32_t>(24, 1));
  const std::string message = error_of([&] { load_sample(sample, {}); });
  CHECK(contains(message, "4 x 6"));
  CHECK(contains(message, "6 x 4"));
  CHECK(contains(message, "image/a.png"));
  CHECK(contains(message, "mask/a.png"));
}

TEST_CASE("a constant image keeps a deviation of 1") {
  const TemporaryFolder folder;
  put_image(folder / "a.png", 2, 2, 0.6F, 3);
  const LoadedSample loaded = load_sample({"a", folder / "a.png", std::nullopt}, {.size = 4});
  CHECK(loaded.mask.labels.empty());
  CHECK(loaded.image.pixels.size() == 48);
  const std::vector<LoadedSample> all{loaded};
  const Normalisation normalisation = measure_normalisation(all);
  CHECK(normalisation.mean[1] == doctest::Approx(0.6));
  CHECK(normalisation.std == std::vector<float>{1, 1, 1});
}

TEST_CASE("an image of one pixel is refused") {
  const TemporaryFolder folder;
  put_image(folder / "dot.png", 1, 1, 0.6F, 3);
  const Sample sample{"dot", folder / "dot.png", std::nullopt};
  const std::string message = error_of([&] { load_sample(sample, {.size = 4}); });
  CHECK(contains(message, "dot.png"));
  CHECK(contains(message, "1 x 1"));
}

TEST_CASE("normalisation is the mean and deviation over all pixels of all images") {
  LoadedSample a, b;
  a.image = {2, 1, 3, {0, 10, 5, 2, 20, 5}};
  b.image = {1, 2, 3, {4, 30, 5, 6, 40, 5}};
  const std::vector<LoadedSample> samples{a, b};
  const Normalisation n = measure_normalisation(samples);
  CHECK(n.mean == std::vector<float>{3, 25, 5});
  CHECK(n.std[0] == doctest::Approx(std::sqrt(5.0)));
  CHECK(n.std[1] == doctest::Approx(std::sqrt(125.0)));
  CHECK(n.std[2] == 1);
  normalise(a.image, n);
  CHECK(a.image.pixels[0] == doctest::Approx(-3 / std::sqrt(5.0)));
  CHECK(a.image.pixels[4] == doctest::Approx(-5 / std::sqrt(125.0)));
  CHECK(a.image.pixels[5] == 0);
}

TEST_CASE("classes and channels are told from the files") {
  const TemporaryFolder folder;
  const auto sample = [&](const std::string& name) {
    return Sample{name, folder / (name + ".png"), folder / (name + ".png")};
  };
  put_mask(folder / "bw.png", 2, 1, {0, 1}, true);
  put_mask(folder / "black.png", 2, 1, {0, 0});
  put_mask(folder / "ids.png", 2, 1, {0, 1});
  put_mask(folder / "four.png", 2, 1, {3, 1});
  put_mask(folder / "grey.png", 3, 1, {0, 255, 120});
  using Samples = std::vector<Sample>;
  CHECK(detect_classes(Samples{sample("bw"), sample("black")}) == 2);
  CHECK(detect_classes(Samples{sample("black")}) == 2);
  CHECK(detect_classes(Samples{sample("ids"), sample("bw")}) == 2);
  CHECK(detect_classes(Samples{sample("ids"), sample("four")}) == 4);
  CHECK(contains(error_of([&] { detect_classes(Samples{sample("grey")}); }), "grey.png"));
  CHECK(contains(error_of([&] {
                   detect_classes(Samples{sample("bw"), sample("four")});
                 }),
                 "one convention"));
  CHECK(contains(error_of([&] { detect_classes(Samples{}); }), "no mask"));

  put_image(folder / "rgb-grey.png", 2, 2, 0.5F, 3);
  write_png(folder / "rgb.png", {1, 1, 3, {1, 0, 0}});
  CHECK(detect_channels(Samples{sample("bw"), sample("rgb-grey")}) == 1);
  CHECK(detect_channels(Samples{sample("bw"), sample("rgb")}) == 3);
}

TEST_CASE("real data sets") {
  const char* set = std::getenv("ANAPHASE_DATA");
  const fs::path root =
      set != nullptr ? fs::path(set) : fs::path(ANAPHASE_SOURCE_DIR) / "../shared/data";
  const struct {
    const char* name;
    std::size_t train, val;
    int classes, channels;
  } expected[] = {{"GlaS", 85, 80, 2, 3}, {"DSB2018", 100, 50, 2, 1}, {"ACDC", 100, 50, 4, 1}};
  for (const auto& data : expected) {
    if (!fs::exists(root / data.name)) {
      MESSAGE("skipped: there is no ", (root / data.name).string());
      continue;
    }
    const auto train = list_split(root / data.name, "train", MaskRule::required);
    const auto val = list_split(root / data.name, "val", MaskRule::required);
    CHECK(train.size() == data.train);
    CHECK(val.size() == data.val);
    const std::span<const Sample> some = std::span(train).first(5);
    CHECK(detect_classes(some) == data.classes);
    CHECK(detect_channels(some) == data.channels);
    const LoadedSample loaded =
        load_sample(val.back(), {.size = 32, .channels = data.channels, .classes = data.classes});
    CHECK(loaded.mask.labels.size() == 32 * 32);
  }
}
