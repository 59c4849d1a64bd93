// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "io/image.hpp"
#include "io/safetensors.hpp"
#include "tests/apps/command.hpp"
#include "tests/io/image_files.hpp"

using namespace anaphase::apps::testing;
using namespace anaphase::io::testing;
namespace fs = std::filesystem;

namespace {

/// Trains on `data` and checks the error and that no run was begun.
void check_refused(const fs::path& data, const std::string& part, const std::string& options = "") {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  CAPTURE(part);
  check_one_line_error(run_program(fmt::format("train --data '{}' --out '{}' {} {}", data.string(),
                                               run.string(), quick, options)),
                       part);
  CHECK(!fs::exists(run));
}

std::string png_of(int side, unsigned char value) {
  return make_png(side, side, 8, 0,
                  std::vector<std::string>(side, std::string(side, static_cast<char>(value))));
}

/// A grey 8-bit TIFF of side x side pixels in one strip at its end.
std::string tiff_of(int side) {
  std::string bytes("II*\0\x08\0\0\0", 8);
  const std::vector<std::pair<int, int>> tags = {{256, side}, {257, side}, {258, 8},
                                                 {259, 1},    {262, 1},    {273, 122},
                                                 {277, 1},    {278, side}, {279, side * side}};
  const auto number = [&](int value, int size) {
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> 8 * i & 0xFF);
  };
  number(static_cast<int>(tags.size()), 2);
  for (const auto& [tag, value] : tags) {
    number(tag, 2);
    number(4, 2);  // 32 bits
    number(1, 4);
    number(value, 4);
  }
  number(0, 4);
  return bytes + std::string(static_cast<std::size_t>(side) * side, '\x40');
}

/// A data set whose image train/image/bad.EXTENSION has these bytes.
fs::path with_image(const TemporaryFolder& folder, const std::string& extension,
                    const std::string& bytes) {
  const fs::path data = folder / "data";
  fs::remove_all(data);
  make_data(data, 5, 16);
  write_bytes(data / "train/image" / ("bad." + extension), bytes);
  return data;
}

/// A supervised model trained once for all cases here.
struct Trained {
  TemporaryFolder folder;
  fs::path data = folder / "data", run = folder / "run";

  Trained() {
    make_data(data, 5, 16);
    const Outcome outcome = run_program(fmt::format(
        "train --data '{}' --out '{}' --method supervised {}", data.string(), run.string(), quick));
    REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  }
  std::string model() const { return (run / "model.safetensors").string(); }

  static const Trained& get() {
    static const Trained trained;
    return trained;
  }
};

/// Makes a mask of `image` with `model` and checks the error and that nothing was written.
void check_not_segmented(const fs::path& model, const fs::path& image, const std::string& part) {
  const TemporaryFolder folder;
  CAPTURE(part);
  check_one_line_error(
      run_program(fmt::format("segment --model '{}' --in '{}' --out '{}'", model.string(),
                              image.string(), (folder / "masks").string())),
      part);
  CHECK(files_in(folder.path()).empty());
}

}  // namespace

TEST_CASE("a data set that is missing or empty is refused") {
  const TemporaryFolder folder;
  check_refused(folder / "nowhere", "nowhere");
  fs::create_directories(folder / "empty");
  check_refused(folder / "empty", "empty/train/image");
  fs::create_directories(folder / "empty/train/image");
  check_refused(folder / "empty", "empty/train/image");
}

TEST_CASE("images and masks that do not belong together are refused") {
  const TemporaryFolder folder;
  const fs::path data = folder / "data";
  SUBCASE("a validation image without a mask") {
    make_data(data, 5, 16);
    fs::remove(data / "val/mask/synth_0005.png");
    check_refused(data, "val/image/synth_0005.png");
  }
  SUBCASE("a mask without an image") {
    make_data(data, 5, 16);
    fs::remove(data / "train/image/synth_0002.png");
    check_refused(data, "train/mask/synth_0002.png");
  }
  SUBCASE("no mask at all") {
    make_data(data, 5, 16);
    fs::remove_all(data / "train/mask");
    check_refused(data, "train/mask");
  }
  SUBCASE("a mask of another size") {
    make_data(data, 5, 16);
    write_bytes(data / "train/mask/synth_0002.png", png_of(15, 0));
    check_refused(data, "train/mask/synth_0002.png");
  }
  SUBCASE("a class id that is too large") {
    make_data(data, 5, 16);
    write_bytes(data / "train/mask/synth_0002.png", png_of(16, 5));
    check_refused(data, "train/mask/synth_0002.png", "--set data.classes=2");
    const Trained& trained = Trained::get();
    check_one_line_error(run_program(fmt::format("evaluate --model '{}' --data '{}' --split train",
                                                 trained.model(), data.string())),
                         "train/mask/synth_0002.png");
  }
}

TEST_CASE("a broken image file is refused by name, in training and in segmentation") {
  const std::string whole = png_of(16, 64), tiff = tiff_of(16);
  struct Case {
    const char* extension;
    std::string bytes;
  };
  const TemporaryFolder folder;
  for (const Case& broken :
       {Case{"png", whole.substr(0, whole.size() / 2)},
        Case{"tif", tiff.substr(0, tiff.size() - 9)}, Case{"png", "This is a text.\n"},
        Case{"png", ""}, Case{"png", png_of(1, 64)},
        Case{"png", make_png(30000, 8, 8, 0, {"x"})}}) {
    const fs::path data = with_image(folder, broken.extension, broken.bytes);
    const std::string name = fmt::format("train/image/bad.{}", broken.extension);
    check_refused(data, name);
    check_not_segmented(Trained::get().run, data / name, name);
  }
}

TEST_CASE("RGBA, 16-bit and TIFF images are accepted") {
  const TemporaryFolder folder;
  const fs::path data = folder / "data";
  make_data(data, 5, 16);
  write_bytes(data / "train/image/rgba.png",
              make_png(12, 20, 8, 6, std::vector<std::string>(20, std::string(48, '\x50'))));
  write_bytes(data / "train/image/deep.png",
              make_png(9, 9, 16, 0, std::vector<std::string>(9, std::string(18, '\x60'))));
  write_bytes(data / "train/image/scan.tif", tiff_of(16));
  const fs::path run = folder / "run", masks = folder / "masks";
  const Outcome trained = run_program(fmt::format(
      "train --data '{}' --out '{}' --method supervised {}", data.string(), run.string(), quick));
  CHECK_MESSAGE(trained.code == 0, trained.err);
  const Outcome segmented =
      run_program(fmt::format("segment --model '{}' --in '{}' --out '{}'", run.string(),
                              (data / "train/image").string(), masks.string()));
  CHECK_MESSAGE(segmented.code == 0, segmented.err);
  const anaphase::io::Image mask = anaphase::io::read_image(masks / "rgba.png");
  CHECK(mask.width == 12);
  CHECK(mask.height == 20);
  CHECK(files_in(masks).size() == 7);
}

TEST_CASE("a share of labels that leaves none is refused") {
  const TemporaryFolder folder;
  make_data(folder / "data", 5, 16);
  check_refused(folder / "data", "label", "--labels 0%");
  check_refused(folder / "data", "label", "--labels 0");
  check_refused(folder / "data", "label", "--labels 99");
}

TEST_CASE("unknown keys are answered with the nearest one") {
  const TemporaryFolder folder;
  make_data(folder / "data", 5, 16);
  check_refused(folder / "data", "'rounds.count'", "--set roundz.count=2");
  write_bytes(folder / "my.toml", "[trianing]\nepochs = 3\n");
  const std::string file = (folder / "my.toml").string();
  check_refused(folder / "data", "'training.epochs'", fmt::format("--config '{}'", file));
  check_refused(folder / "data", file, fmt::format("--config '{}'", file));
}

TEST_CASE("a checkpoint of another network is refused and stays as it was") {
  const Trained& trained = Trained::get();
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  fs::copy(trained.run, run, fs::copy_options::recursive);
  std::string config = read_bytes(run / "config.toml");
  const std::string width = "width = 8";
  REQUIRE(contains(config, width));
  write_bytes(run / "config.toml", config.replace(config.find(width), width.size(), "width = 16"));
  check_one_line_error(run_program(fmt::format("train --out '{}' --resume", run.string())),
                       "checkpoint.safetensors");
  CHECK(read_bytes(run / "checkpoint.safetensors") ==
        read_bytes(trained.run / "checkpoint.safetensors"));
}

TEST_CASE("a model file that is cut off or lies about itself is refused") {
  const Trained& trained = Trained::get();
  const TemporaryFolder folder;
  const fs::path image = trained.data / "val/image/synth_0005.png",
                 bad = folder / "bad.safetensors";
  const std::string whole = read_bytes(trained.model());
  const auto refused = [&](const std::string& bytes) {
    write_bytes(bad, bytes);
    check_not_segmented(bad, image, "bad.safetensors");
  };
  refused("");
  refused(whole.substr(0, 5));
  refused(whole.substr(0, 1000));
  refused(whole.substr(0, whole.size() - 4));
  refused(whole + "more");
  refused("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F" + whole.substr(8));  // header longer than the file
  const std::string offsets = "\"data_offsets\":[";
  std::string lying = whole;
  REQUIRE(contains(lying, offsets));
  lying[lying.find(offsets) + offsets.size()] = '9';  // a tensor that begins elsewhere
  refused(lying);

  anaphase::io::SafeTensors foreign = anaphase::io::read_safetensors(trained.model());
  foreign.metadata.clear();
  anaphase::io::write_safetensors(bad, foreign);
  check_not_segmented(bad, image, "bad.safetensors");
  check_not_segmented(folder / "nowhere", image, "nowhere");
  check_not_segmented(folder.path(), image, folder.path().string());
}

TEST_CASE("a mask never overwrites an image") {
  const Trained& trained = Trained::get();
  const TemporaryFolder folder;
  const fs::path image = folder / "a.png";
  write_bytes(image, png_of(16, 64));
  check_one_line_error(
      run_program(fmt::format("segment --model '{}' --in '{}' --out '{}'", trained.model(),
                              image.string(), folder.path().string())),
      "a.png");
  CHECK(read_bytes(image) == png_of(16, 64));
  check_one_line_error(run_program(fmt::format("segment --model '{}' --in '{}' --out '{}'",
                                               trained.model(), image.string(), image.string())),
                       "a.png");
  CHECK(files_in(folder.path()) == std::vector<std::string>{"a.png"});
}
