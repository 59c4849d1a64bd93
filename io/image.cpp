// SPDX-License-Identifier: Apache-2.0
#include "io/image.hpp"

#include <algorithm>
#include <cctype>

#include "io/atomic_file.hpp"
#include "io/failure.hpp"
#include "io/image_decode.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;

bool is_tiff(std::span<const unsigned char> bytes) {
  if (bytes.size() < 4) return false;
  const bool little = bytes[0] == 'I' && bytes[1] == 'I' && (bytes[2] == 42 || bytes[2] == 43);
  const bool big = bytes[0] == 'M' && bytes[1] == 'M' && (bytes[3] == 42 || bytes[3] == 43);
  return little || big;
}

Decoded decode(const fs::path& path) {
  const std::vector<unsigned char> bytes = read_file(path);
  if (!has_image_extension(path)) {
    cannot_read(path, fmt::format("its extension is not {}; convert it", image_extensions));
  }
  if (bytes.empty()) cannot_read(path, "the file is empty; copy it again from its source");
  return is_tiff(bytes) ? decode_tiff(path) : decode_with_stb(path, bytes);
}

}  // namespace

void check_image_size(const fs::path& path, std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1) {
    cannot_read(path, fmt::format("its header claims {} x {} pixels; copy it again from its source",
                                  width, height));
  }
  if (width > max_image_side || height > max_image_side || width * height > max_image_pixels) {
    cannot_read(path, fmt::format("it is {} x {} pixels, and at most {} pixels a side are read; "
                                  "reduce it or cut it into tiles",
                                  width, height, max_image_side));
  }
}

bool has_image_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* known : {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}) {
    if (extension == known) return true;
  }
  return false;
}

Image read_image(const fs::path& path) {
  Decoded decoded = decode(path);
  Image image{decoded.width, decoded.height, decoded.channels, std::move(decoded.values)};
  if (!decoded.is_float) {
    for (float& value : image.pixels) value /= decoded.full_scale;
  }
  return image;
}

LabelMap read_mask_values(const fs::path& path) {
  const Decoded decoded = decode(path);
  if (decoded.is_float) {
    cannot_read(path, "a mask must hold whole numbers, not floats; save it with 8 or 16 bit");
  }
  LabelMap values{decoded.width, decoded.height, {}};
  values.labels.resize(static_cast<std::size_t>(decoded.width) * decoded.height);
  for (std::size_t i = 0; i < values.labels.size(); ++i) {
    const float* pixel = &decoded.values[i * decoded.channels];
    if (decoded.channels == 3 && (pixel[0] != pixel[1] || pixel[0] != pixel[2])) {
      cannot_read(path,
                  fmt::format("a mask must be grey, but pixel ({}, {}) has the colour ({}, {}, "
                              "{}); save it as a grey image of class ids",
                              i % decoded.width, i / decoded.width, pixel[0], pixel[1], pixel[2]));
    }
    values.labels[i] = static_cast<std::int32_t>(pixel[0]);
  }
  return values;
}

LabelMap mask_from_values(LabelMap values, int classes, const fs::path& path) {
  std::vector<std::int32_t>& labels = values.labels;
  for (const std::int32_t white : {255, 65535}) {
    if (classes != 2) break;
    if (std::all_of(labels.begin(), labels.end(), [&](auto v) { return v == 0 || v == white; })) {
      for (auto& label : labels) label = label == white ? 1 : 0;
      return values;
    }
  }
  const auto outside =
      std::find_if(labels.begin(), labels.end(), [&](auto v) { return v >= classes; });
  if (outside == labels.end()) return values;
  if (classes != 2) {
    throw Error(
        fmt::format("mask {} holds the value {}, but with {} classes the ids are 0 to {}; "
                    "correct the mask or raise the number of classes",
                    path.string(), *outside, classes, classes - 1));
  }
  const auto grey = std::find_if(labels.begin(), labels.end(),
                                 [](auto v) { return v != 0 && v != 1 && v != 255; });
  if (grey == labels.end()) {
    throw Error(
        fmt::format("mask {} holds both 1 and 255, but a mask for two classes holds 0 and 1, or "
                    "0 and 255; replace one by the other",
                    path.string()));
  }
  throw Error(
      fmt::format("mask {} holds the value {}, but a mask for two classes holds 0 and 1, or 0 "
                  "and 255; threshold it if its edges are smoothed, or set the number of "
                  "classes",
                  path.string(), *grey));
}

LabelMap read_mask(const fs::path& path, int classes) {
  return mask_from_values(read_mask_values(path), classes, path);
}

Image convert_channels(Image image, int channels) {
  if (image.channels == channels) return image;
  const std::size_t count = static_cast<std::size_t>(image.width) * image.height;
  std::vector<float> pixels(count * channels);
  for (std::size_t i = 0; i < count; ++i) {
    if (channels == 3) {
      std::fill_n(&pixels[3 * i], 3, image.pixels[i]);
    } else {
      const float* rgb = &image.pixels[3 * i];
      pixels[i] = 0.299F * rgb[0] + 0.587F * rgb[1] + 0.114F * rgb[2];
    }
  }
  return {image.width, image.height, channels, std::move(pixels)};
}

void write_png(const fs::path& path, const Image& image) {
  write_file_atomically(path, std::span<const unsigned char>(encode_png(image)));
}

void write_mask(const fs::path& path, const LabelMap& mask, bool as_0_255) {
  Image image{mask.width, mask.height, 1, std::vector<float>(mask.labels.size())};
  for (std::size_t i = 0; i < mask.labels.size(); ++i) {
    const std::int32_t label = mask.labels[i];
    if (label < 0 || label > 255) {
      throw Error(
          fmt::format("cannot write {}: class id {} does not fit into 8 bits; use at most 256 "
                      "classes",
                      path.string(), label));
    }
    image.pixels[i] = as_0_255 ? (label != 0 ? 1.0F : 0.0F) : static_cast<float>(label) / 255.0F;
  }
  write_png(path, image);
}

}  // namespace anaphase::io
