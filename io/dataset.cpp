// SPDX-License-Identifier: Apache-2.0
#include "io/dataset.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "io/failure.hpp"
#include "io/resize.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;

/// The image files of one folder by name, which sorts them.
std::map<std::string, fs::path> image_files(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw Error(
        fmt::format("there is no folder {}; a data set is a folder with train/image, train/mask "
                    "and so on",
                    folder.string()));
  }
  std::map<std::string, fs::path> files;
  fs::directory_iterator entries(folder, error);
  if (error) cannot_read(folder, fmt::format("{}; check its permissions", error.message()));
  for (const auto& entry : entries) {
    const fs::path& path = entry.path();
    if (path.filename().string().starts_with('.') || !has_image_extension(path)) continue;
    const auto [other, is_new] = files.emplace(path.stem().string(), path);
    if (!is_new) {
      const auto [first, second] = std::minmax({other->second.string(), path.string()});
      throw Error(fmt::format(
          "{} and {} have the same name without extension; rename or remove one", first, second));
    }
  }
  return files;
}

[[noreturn]] void no_image_in(const fs::path& folder) {
  throw Error(fmt::format("folder {} holds no image; put {} files there", folder.string(),
                          image_extensions));
}

void check_same_size(const Sample& sample, const Image& image, const LabelMap& mask) {
  if (mask.width == image.width && mask.height == image.height) return;
  throw Error(
      fmt::format("mask {} is {} x {} pixels, but its image {} is {} x {}; replace the mask by "
                  "one of the image's size",
                  sample.mask->string(), mask.width, mask.height, sample.image.string(),
                  image.width, image.height));
}

}  // namespace

bool has_split(const fs::path& root, std::string_view split) {
  std::error_code ignored;
  return fs::is_directory(root / split / "image", ignored);
}

std::vector<Sample> list_split(const fs::path& root, std::string_view split, MaskRule rule) {
  const fs::path image_folder = root / split / "image", mask_folder = root / split / "mask";
  std::error_code ignored;
  if (!fs::is_directory(root, ignored)) {
    throw Error(fmt::format("there is no data set folder {}; check the name", root.string()));
  }
  const std::map<std::string, fs::path> images = image_files(image_folder);
  if (images.empty()) no_image_in(image_folder);
  std::map<std::string, fs::path> masks;
  if (rule == MaskRule::required || fs::exists(mask_folder, ignored)) {
    masks = image_files(mask_folder);
  }

  std::vector<Sample> samples;
  for (const auto& [name, path] : images) {
    Sample sample{name, path, std::nullopt};
    if (const auto mask = masks.find(name); mask != masks.end()) {
      sample.mask = mask->second;
      masks.erase(mask);
    } else if (rule == MaskRule::required) {
      throw Error(
          fmt::format("image {} has no mask; add {} with an image extension or remove the "
                      "image",
                      path.string(), (mask_folder / name).string()));
    }
    samples.push_back(std::move(sample));
  }
  if (!masks.empty()) {
    throw Error(fmt::format("mask {} has no image of the same name in {}; rename or remove it",
                            masks.begin()->second.string(), image_folder.string()));
  }
  return samples;
}

std::vector<Sample> list_images(std::span<const fs::path> paths) {
  std::vector<Sample> samples;
  for (const fs::path& path : paths) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) cannot_read(path, "there is no such file or folder");
    if (!fs::is_directory(path, ignored)) {
      samples.push_back({path.stem().string(), path, std::nullopt});
      continue;
    }
    const std::map<std::string, fs::path> files = image_files(path);
    if (files.empty()) no_image_in(path);
    for (const auto& [name, file] : files) samples.push_back({name, file, std::nullopt});
  }
  std::map<std::string, fs::path> seen;
  for (const Sample& sample : samples) {
    const auto [other, is_new] = seen.emplace(sample.name, sample.image);
    if (!is_new) {
      throw Error(
          fmt::format("{} and {} would both be saved under the name {}; give them in separate "
                      "calls or rename one",
                      other->second.string(), sample.image.string(), sample.name));
    }
  }
  return samples;
}

LoadedSample load_sample(const Sample& sample, const LoadOptions& options) {
  LoadedSample loaded;
  loaded.name = sample.name;
  loaded.image = convert_channels(read_image(sample.image), options.channels);
  if (loaded.image.width < 2 || loaded.image.height < 2)
    cannot_read(sample.image, fmt::format("it is {} x {} pixels, too small to segment; remove it",
                                          loaded.image.width, loaded.image.height));
  loaded.original_width = loaded.image.width;
  loaded.original_height = loaded.image.height;
  if (sample.mask) {
    loaded.mask = read_mask(*sample.mask, options.classes);
    check_same_size(sample, loaded.image, loaded.mask);
  }
  if (options.size > 0) {
    loaded.image = resize_bilinear(loaded.image, options.size, options.size);
    if (sample.mask) loaded.mask = resize_nearest(loaded.mask, options.size, options.size);
  }
  return loaded;
}

int detect_classes(std::span<const Sample> samples) {
  std::int32_t largest = -1;  // over the masks that are not black and white
  fs::path largest_in, white_in;
  bool any = false;
  for (const Sample& sample : samples) {
    if (!sample.mask) continue;
    any = true;
    const LabelMap values = read_mask_values(*sample.mask);
    const std::int32_t top = *std::max_element(values.labels.begin(), values.labels.end());
    const bool black_and_white =
        (top == 255 || top == 65535) && std::all_of(values.labels.begin(), values.labels.end(),
                                                    [&](auto v) { return v == 0 || v == top; });
    if (black_and_white) {
      white_in = *sample.mask;
    } else if (top > largest) {
      largest = top;
      largest_in = *sample.mask;
    }
  }
  if (!any) throw Error("no mask was found to tell the number of classes from; add masks");
  if (largest >= 255) {
    throw Error(
        fmt::format("mask {} holds the value {} beside others, which is no class id; threshold "
                    "it if its edges are smoothed",
                    largest_in.string(), largest));
  }
  if (largest > 1 && !white_in.empty()) {
    throw Error(
        fmt::format("mask {} holds 0 and 255, but {} holds class ids up to {}; use one "
                    "convention for all masks",
                    white_in.string(), largest_in.string(), largest));
  }
  return std::max(2, largest + 1);
}

int detect_channels(std::span<const Sample> samples) {
  for (const Sample& sample : samples) {
    const Image image = read_image(sample.image);
    if (image.channels == 1) continue;
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
      const float* pixel = &image.pixels[i];
      if (pixel[0] != pixel[1] || pixel[0] != pixel[2]) return 3;
    }
  }
  return 1;
}

Normalisation measure_normalisation(std::span<const LoadedSample> samples) {
  if (samples.empty()) throw Error("there is no image to take mean and deviation of; add images");
  const std::size_t channels = samples.front().image.channels;
  Normalisation result;
  for (std::size_t c = 0; c < channels; ++c) {
    // Two passes: deviations from the mean do not cancel the way sums of squares do.
    const auto average = [&](auto&& term) {
      double sum = 0;
      std::size_t count = 0;
      for (const LoadedSample& sample : samples) {
        const std::vector<float>& pixels = sample.image.pixels;
        for (std::size_t i = c; i < pixels.size(); i += channels, ++count) sum += term(pixels[i]);
      }
      return sum / static_cast<double>(count);
    };
    const double mean = average([](double v) { return v; });
    const double variance = average([mean](double v) { return (v - mean) * (v - mean); });
    const auto deviation = static_cast<float>(std::sqrt(variance));
    result.mean.push_back(static_cast<float>(mean));
    result.std.push_back(deviation > 1e-6F ? deviation : 1.0F);
  }
  return result;
}

void normalise(Image& image, const Normalisation& normalisation) {
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const std::size_t c = i % image.channels;
    image.pixels[i] = (image.pixels[i] - normalisation.mean[c]) / normalisation.std[c];
  }
}

}  // namespace anaphase::io
