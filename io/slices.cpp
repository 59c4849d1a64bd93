// SPDX-License-Identifier: Apache-2.0
#include "io/slices.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "io/failure.hpp"
#include "io/image.hpp"
#include "io/new_dataset_folder.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* axis_names[] = {"axial", "coronal", "sagittal"};

[[noreturn]] void bad_class_map(std::string_view text, std::string_view why) {
  throw Error(fmt::format("class map '{}' {}; write ranges and class ids such as 1-90:1,91-116:2",
                          text, why));
}

/// Takes a number and the separator behind it off the front of `rest`.
int take_number(std::string_view& rest, std::string_view map) {
  int value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc{} || value < 0) {
    bad_class_map(map, fmt::format("has no number at '{}'", rest));
  }
  rest.remove_prefix(end - rest.data());
  return value;
}

bool take(std::string_view& rest, char separator) {
  if (!rest.starts_with(separator)) return false;
  rest.remove_prefix(1);
  return true;
}

/// The pixel grid of one slice direction: where picture (column, row) of slice i lies in the
/// volume.
struct SlicePlane {
  SliceAxis axis;
  const Volume& volume;

  int count() const {
    return axis == SliceAxis::axial     ? volume.nz
           : axis == SliceAxis::coronal ? volume.ny
                                        : volume.nx;
  }
  int width() const { return axis == SliceAxis::sagittal ? volume.ny : volume.nx; }
  int height() const { return axis == SliceAxis::axial ? volume.ny : volume.nz; }
  float at(const Volume& v, int column, int row, int slice) const {
    const int up = height() - 1 - row;  // rows run downwards, the volume's axes up and to the front
    int x = column, y = up, z = slice;
    if (axis == SliceAxis::coronal) y = slice, z = up;
    if (axis == SliceAxis::sagittal) x = slice, y = width() - 1 - column, z = up;
    return v.voxels[(static_cast<std::size_t>(z) * v.ny + y) * v.nx + x];
  }
};

struct Window {
  float low = 0, high = 1;
};

Window intensity_window(std::vector<float> values, std::string_view name) {
  const auto percentile = [&](double share) {
    const auto rank = std::lround(share * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + rank, values.end());
    return values[rank];
  };
  Window window{percentile(0.005), percentile(0.995)};
  if (!(window.low < window.high)) {
    window = {*std::min_element(values.begin(), values.end()),
              *std::max_element(values.begin(), values.end())};
  }
  if (!(window.low < window.high)) {
    throw Error(fmt::format("volume {} has the same intensity everywhere; give a scan", name));
  }
  return window;
}

int class_of(float label, const std::vector<ClassRange>& classes, std::string_view name) {
  if (label != std::floor(label) || label < 0 || (classes.empty() && label > 255)) {
    throw Error(
        fmt::format("the label volume of {} holds the value {}, which is no class id; give whole "
                    "numbers from 0, and a class map for those above 255",
                    name, label));
  }
  if (classes.empty()) return static_cast<int>(label);
  for (const ClassRange& range : classes) {
    if (label >= static_cast<float>(range.first) && label <= static_cast<float>(range.last)) {
      return range.id;
    }
  }
  return 0;
}

}  // namespace

SliceAxis parse_slice_axis(std::string_view text) {
  for (const SliceAxis axis : {SliceAxis::axial, SliceAxis::coronal, SliceAxis::sagittal}) {
    if (text == axis_names[static_cast<int>(axis)]) return axis;
  }
  throw Error(fmt::format("there is no axis '{}'; choose axial, coronal or sagittal", text));
}

std::vector<ClassRange> parse_class_map(std::string_view text) {
  std::vector<ClassRange> classes;
  std::set<int> ids;
  std::string_view rest = text;
  do {
    ClassRange range;
    range.first = range.last = take_number(rest, text);
    if (take(rest, '-')) range.last = take_number(rest, text);
    if (!take(rest, ':')) bad_class_map(text, fmt::format("has no ':' at '{}'", rest));
    range.id = take_number(rest, text);
    if (range.last < range.first) {
      bad_class_map(
          text, fmt::format("has the range {}-{}, which runs backwards", range.first, range.last));
    }
    if (range.id < 1 || range.id > 255) {
      bad_class_map(text, fmt::format("has the class id {}, but ids are 1 to 255", range.id));
    }
    for (const ClassRange& other : classes) {
      if (range.first <= other.last && other.first <= range.last) {
        bad_class_map(text,
                      fmt::format("names label {} twice", std::max(range.first, other.first)));
      }
    }
    ids.insert(range.id);
    classes.push_back(range);
  } while (take(rest, ','));
  if (!rest.empty()) bad_class_map(text, fmt::format("has no ',' at '{}'", rest));
  if (*ids.rbegin() != static_cast<int>(ids.size())) {
    bad_class_map(text, "skips a class id");
  }
  return classes;
}

SliceCounts write_slices(const Volume& volume, const Volume& labels, std::string_view name,
                         const fs::path& root, const SliceOptions& options) {
  if (options.every < 1 || options.block < 1 ||
      !(options.val_share >= 0 && options.val_share < 1)) {
    throw Error(
        fmt::format("slices need every >= 1, block >= 1 and a val share in [0, 1), not {}, {} and "
                    "{}",
                    options.every, options.block, options.val_share));
  }
  if (!same_grid(volume, labels)) {
    throw Error(fmt::format(
        "the labels of {} lie on another grid ({} x {} x {} voxels of {:.3g} x {:.3g} x "
        "{:.3g} mm) than the scan ({} x {} x {} of {:.3g} x {:.3g} x {:.3g} mm, or "
        "another origin or direction); resample them onto it",
        name, labels.nx, labels.ny, labels.nz, labels.sx, labels.sy, labels.sz, volume.nx,
        volume.ny, volume.nz, volume.sx, volume.sy, volume.sz));
  }
  const SlicePlane plane{options.axis, volume};
  const int width = plane.width(), height = plane.height();
  SliceCounts counts;

  struct Slice {
    int index = 0;
    LabelMap mask;
  };
  std::vector<Slice> slices;
  for (int i = 0; i < plane.count(); i += options.every) {
    Slice slice{i, {width, height, {}}};
    std::size_t foreground = 0;
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < width; ++column) {
        const int id = class_of(plane.at(labels, column, row, i), options.classes, name);
        slice.mask.labels.push_back(id);
        counts.classes = std::max(counts.classes, id + 1);
        if (id > 0) ++foreground;
      }
    }
    if (static_cast<double>(foreground) >=
        options.min_foreground * static_cast<double>(slice.mask.labels.size())) {
      slices.push_back(std::move(slice));
    } else {
      ++counts.without_foreground;
    }
  }
  for (const ClassRange& range : options.classes) {
    counts.classes = std::max(counts.classes, range.id + 1);
  }
  if (slices.empty() || counts.classes < 2) {
    throw Error(
        fmt::format("no slice of {} has labelled voxels on {:.3g} of its area; check the class map "
                    "and the least foreground",
                    name, options.min_foreground));
  }

  // Block b is for validation where the rounded running total of val's share grows.
  const auto in_val = [&](std::size_t slice) {
    const std::size_t block = slice / options.block;
    const auto b = static_cast<double>(block);
    return std::floor((b + 1) * options.val_share + 0.5) > std::floor(b * options.val_share + 0.5);
  };
  const Window window = intensity_window(volume.voxels, name);
  NewDatasetFolder folder(root);
  for (std::size_t s = 0; s < slices.size(); ++s) {
    const bool val = in_val(s);
    if (!val && ((s > 0 && in_val(s - 1)) || (s + 1 < slices.size() && in_val(s + 1)))) {
      ++counts.gap;
      continue;
    }
    ++(val ? counts.val : counts.train);
    const Slice& slice = slices[s];
    Image image{width, height, 1, {}};
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < width; ++column) {
        const float value = plane.at(volume, column, row, slice.index);
        image.pixels.push_back((value - window.low) / (window.high - window.low));
      }
    }
    const fs::path part = folder.path() / (val ? "val" : "train");
    const std::string file = fmt::format("{}_{}_{:03}.png", name,
                                         axis_names[static_cast<int>(options.axis)], slice.index);
    write_png(part / "image" / file, image);
    write_mask(part / "mask" / file, slice.mask, counts.classes == 2);
  }
  if (counts.train == 0 || (options.val_share > 0 && counts.val == 0)) {
    throw Error(
        fmt::format("{} slices of {} in blocks of {} leave nothing for {}; use smaller blocks or "
                    "another val share",
                    slices.size(), name, options.block, counts.train == 0 ? "train" : "val"));
  }
  folder.finish();
  return counts;
}

}  // namespace anaphase::io
