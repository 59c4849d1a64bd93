// SPDX-License-Identifier: Apache-2.0
#include "io/slices.hpp"

#include <doctest/doctest.h>
#include <cmath>
#include <map>

#include "io/dataset.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;
namespace fs = std::filesystem;

namespace {

Volume make_volume(int nx, int ny, int nz, float (*value)(int, int, int)) {
  Volume volume;
  volume.nx = nx;
  volume.ny = ny;
  volume.nz = nz;
  volume.affine = {{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}};
  for (int z = 0; z < nz; ++z) {
    for (int y = 0; y < ny; ++y) {
      for (int x = 0; x < nx; ++x) volume.voxels.push_back(value(x, y, z));
    }
  }
  return volume;
}

/// Slice index -> "train" or "val", from the file names.
std::map<int, std::string> parts(const fs::path& root) {
  std::map<int, std::string> result;
  for (const char* part : {"train", "val"}) {
    if (fs::is_empty(root / part / "image")) continue;
    for (const Sample& sample : list_split(root, part, MaskRule::required)) {
      result[std::stoi(sample.name.substr(sample.name.rfind('_') + 1))] = part;
    }
  }
  return result;
}

}  // namespace

TEST_CASE("class maps are parsed") {
  const auto classes = parse_class_map("1-90:1,91-116:2,200:3");
  REQUIRE(classes.size() == 3);
  CHECK(classes[1].first == 91);
  CHECK(classes[1].last == 116);
  CHECK(classes[1].id == 2);
  CHECK(classes[2].first == 200);
  CHECK(classes[2].last == 200);
  const struct {
    const char *text, *message;
  } cases[] = {{"", "no number at ''"},   {"a:1", "no number at 'a:1'"},
               {"1-90", "no ':'"},        {"1-90:", "no number at ''"},
               {"9-1:1", "backwards"},    {"1:0", "class id 0"},
               {"1:256", "class id 256"}, {"1-5:1,5-9:2", "label 5 twice"},
               {"1:1,2:3", "skips"},      {"1:1;2:2", "no ','"},
               {"1:1,", "no number"},     {"-1:1", "no number at '-1:1'"}};
  for (const auto& bad : cases) {
    const std::string got = error_of([&] { parse_class_map(bad.text); });
    CHECK_MESSAGE(contains(got, bad.message), bad.text, " gave: ", got);
    CHECK(contains(got, "1-90:1,91-116:2"));
  }
  CHECK(parse_slice_axis("coronal") == SliceAxis::coronal);
  CHECK(contains(error_of([] { parse_slice_axis("up"); }), "axial, coronal or sagittal"));
}

TEST_CASE("pictures stand upright") {
  // One bright voxel on the patient's left, at the front, low; its label is 1.
  const auto spot = [](int x, int y, int z) { return x == 1 && y == 5 && z == 2 ? 1.0F : 0.0F; };
  const Volume volume = make_volume(4, 7, 9, +spot);
  const struct {
    SliceAxis axis;
    int slice, width, height, column, row;
  } cases[] = {{SliceAxis::axial, 2, 4, 7, 1, 1},
               {SliceAxis::coronal, 5, 4, 9, 1, 6},
               {SliceAxis::sagittal, 1, 7, 9, 1, 6}};
  for (const auto& one : cases) {
    const TemporaryFolder folder;
    const SliceCounts counts =
        write_slices(volume, volume, "spot", folder / "out",
                     {.axis = one.axis, .val_share = 0, .min_foreground = 0.001});
    CHECK(counts.train == 1);
    CHECK(counts.classes == 2);
    const auto samples = list_split(folder / "out", "train", MaskRule::required);
    REQUIRE(samples.size() == 1);
    const LoadedSample loaded = load_sample(samples[0], {.channels = 1, .classes = 2});
    CHECK(loaded.image.width == one.width);
    CHECK(loaded.image.height == one.height);
    for (int y = 0; y < one.height; ++y) {
      for (int x = 0; x < one.width; ++x) {
        const bool here = x == one.column && y == one.row;
        CHECK(loaded.image.pixels[y * one.width + x] == (here ? 1.0F : 0.0F));
        CHECK(loaded.mask.labels[y * one.width + x] == (here ? 1 : 0));
      }
    }
    CHECK(parts(folder / "out").begin()->first == one.slice);
  }
}

TEST_CASE("no training slice is the neighbour of a val slice") {
  const auto everywhere = [](int x, int, int) { return static_cast<float>(x % 2); };
  const Volume volume = make_volume(4, 4, 60, +everywhere);
  for (const int every : {1, 2}) {
    const TemporaryFolder folder;
    const SliceCounts counts = write_slices(volume, volume, "v", folder / "out",
                                            {.every = every, .block = 5, .val_share = 0.3});
    const auto part = parts(folder / "out");
    CHECK(counts.train + counts.val + counts.gap == 60 / every);
    CHECK(part.size() == static_cast<std::size_t>(counts.train + counts.val));
    CHECK(counts.val >= 60 / every / 5);
    CHECK(counts.gap > 0);
    for (const auto& [index, name] : part) {
      CHECK(index % every == 0);
      const auto next = part.find(index + every);
      if (next != part.end()) CHECK(next->second == name);
    }
  }
}

TEST_CASE("labels become classes, and slices without enough of them are left out") {
  const auto labels = [](int x, int, int z) {
    return z < 3 ? 0.0F : x == 0 ? 95.0F : x == 1 ? 7.0F : 0.0F;
  };
  const auto scan = [](int x, int y, int z) { return static_cast<float>(x + y * z); };
  const TemporaryFolder folder;
  const SliceCounts counts =
      write_slices(make_volume(4, 5, 6, +scan), make_volume(4, 5, 6, +labels), "v", folder / "out",
                   {.classes = parse_class_map("1-90:1,91-116:2"), .val_share = 0});
  CHECK(counts.without_foreground == 3);
  CHECK(counts.train == 3);
  CHECK(counts.classes == 3);
  const auto samples = list_split(folder / "out", "train", MaskRule::required);
  const LabelMap mask = read_mask(*samples[0].mask, 3);
  CHECK(std::vector<std::int32_t>(mask.labels.begin(), mask.labels.begin() + 4) ==
        std::vector<std::int32_t>{2, 1, 0, 0});
}

TEST_CASE("intensities run from the 0.5 to the 99.5 percentile of the volume") {
  // 1000 voxels 0..999, one of them replaced by an outlier that must not set the scale.
  const auto scan = [](int x, int y, int z) {
    const int i = (z * 10 + y) * 10 + x;
    return i == 999 ? 1e6F : static_cast<float>(i);
  };
  const auto labels = [](int, int, int) { return 1.0F; };
  const TemporaryFolder folder;
  write_slices(make_volume(10, 10, 10, +scan), make_volume(10, 10, 10, +labels), "v",
               folder / "out", {.val_share = 0});
  const auto samples = list_split(folder / "out", "train", MaskRule::required);
  const Image middle = read_image(samples[5].image);
  const double expected = (590 - 5) / (994.0 - 5);  // voxel (0, 9, 5) is the first pixel
  CHECK(std::abs(middle.pixels[0] - expected) <= 0.5 / 255 + 1e-6);
  CHECK(read_image(samples[9].image).pixels[9] == 1);
}

TEST_CASE("bad input leaves no folder behind") {
  const auto ramp = [](int x, int, int) { return static_cast<float>(x); };
  const auto halves = [](int x, int, int) { return static_cast<float>(x) * 0.5F; };
  const auto constant = [](int, int, int) { return 300.0F; };
  const Volume volume = make_volume(4, 4, 8, +ramp);
  const TemporaryFolder folder;
  const auto error = [&](const Volume& scan, const Volume& labels, const SliceOptions& options) {
    return error_of([&] { write_slices(scan, labels, "v", folder / "out", options); });
  };
  CHECK(contains(error(volume, make_volume(4, 4, 7, +ramp), {}), "another grid"));
  CHECK(contains(error(volume, make_volume(4, 4, 8, +halves), {}), "value 0.5"));
  CHECK(contains(error(volume, make_volume(4, 4, 8, +constant), {}), "value 300"));
  CHECK(contains(error(make_volume(4, 4, 8, +constant), volume, {}), "same intensity"));
  CHECK(contains(error(volume, volume, {.classes = parse_class_map("9:1")}), "no slice"));
  CHECK(contains(error(volume, volume, {.block = 100, .val_share = 0.3}), "nothing for val"));
  CHECK(contains(error(volume, volume, {.every = 0}), "every >= 1"));
  CHECK(fs::is_empty(folder.path()));
  write_bytes(folder / "out/mine.txt", "x");
  CHECK(contains(error(volume, volume, {}), "not an empty folder"));
  CHECK(read_bytes(folder / "out/mine.txt") == "x");
}

TEST_CASE("the brain and its atlas") {
  const fs::path templates = "/usr/share/mricron/templates";
  if (!fs::exists(templates / "ch2.nii.gz") || !fs::exists(templates / "aal.nii.gz")) {
    MESSAGE("skipped: the package mricron-data is not installed");
    return;
  }
  const Volume scan = read_nifti(templates / "ch2.nii.gz");
  const Volume labels = read_nifti(templates / "aal.nii.gz");
  CHECK(scan.nx == 181);
  CHECK(scan.ny == 217);
  CHECK(scan.nz == 181);
  CHECK(same_grid(scan, labels));
  const TemporaryFolder folder;
  const SliceCounts counts =
      write_slices(scan, labels, "ch2", folder / "out",
                   {.every = 4, .classes = parse_class_map("1-90:1,91-116:2"), .block = 5});
  CHECK(counts.classes == 3);
  CHECK(counts.train > 10);
  CHECK(counts.val > 3);
  const auto train = list_split(folder / "out", "train", MaskRule::required);
  CHECK(detect_classes(train) == 3);
  const LoadedSample loaded = load_sample(train[5], {.channels = 1, .classes = 3});
  CHECK(loaded.image.width == 181);
  CHECK(loaded.image.height == 217);
}
