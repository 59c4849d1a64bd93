// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace anaphase::io {

/// A picture, channels last: value of channel c at column x, row y is
/// `pixels[(y * width + x) * channels + c]`. 8-bit values are divided by 255 and 16-bit values by
/// 65535, so they lie in [0, 1]; float TIFF values are kept as they are.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;  ///< 1 (grey) or 3 (RGB)
  std::vector<float> pixels;
};

/// One class id per pixel, row by row: `labels[y * width + x]`.
struct LabelMap {
  int width = 0;
  int height = 0;
  std::vector<std::int32_t> labels;
};

/// A file whose header claims more than this is refused before it is decoded.
inline constexpr int max_image_side = 16384;
inline constexpr std::int64_t max_image_pixels = std::int64_t{1} << 28;

/// The extensions this project reads, as the words of an error message.
inline constexpr const char* image_extensions = ".png, .jpg, .jpeg, .bmp, .tif or .tiff";

/// Whether the name ends in one of `image_extensions` (upper or lower case).
bool has_image_extension(const std::filesystem::path& path);

/// Reads PNG and BMP (8-bit, PNG also 16-bit), JPEG, and the first page of a TIFF (1, 8, 16-bit
/// unsigned or 32-bit float; grey, RGB; strips or tiles; white-is-zero is turned around). The
/// format is told by the content. Alpha is dropped: RGBA becomes RGB, grey + alpha becomes grey.
/// Palette PNGs become RGB. EXIF orientation is ignored. A file that is missing, empty, truncated,
/// corrupt, too large or of another kind is an Error that names it.
Image read_image(const std::filesystem::path& path);

/// The values stored in a mask file, unscaled: 0..255 or 0..65535 (a 1-bit file holds 0 and 1). An
/// RGB file counts as grey when its channels are equal and is an Error otherwise.
LabelMap read_mask_values(const std::filesystem::path& path);

/// Reads a mask for `classes` classes. Values are class ids in [0, classes), except that a file for
/// two classes may hold 0 and 255 (or 65535 in 16 bit) instead, which then means class 1. Any other
/// value is an Error that names the file, the first such value and the remedy.
LabelMap read_mask(const std::filesystem::path& path, int classes);

/// The rule of `read_mask`, applied to values that are in memory already; `path` is for the Error.
LabelMap mask_from_values(LabelMap values, int classes, const std::filesystem::path& path);

/// Converts between grey and RGB: grey is repeated three times; RGB becomes luma,
/// 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). `channels` is 1 or 3.
Image convert_channels(Image image, int channels);

/// 8-bit PNG, grey or RGB; values are clamped to [0, 1] and rounded. Written atomically.
void write_png(const std::filesystem::path& path, const Image& image);

/// 8-bit grey PNG of the class ids (at most 255), or with `as_0_255` of 0 for class 0 and 255 for
/// the others. Written atomically.
void write_mask(const std::filesystem::path& path, const LabelMap& mask, bool as_0_255);

/// The bytes of the PNG that `write_png` would write.
std::vector<unsigned char> encode_png(const Image& image);

}  // namespace anaphase::io
