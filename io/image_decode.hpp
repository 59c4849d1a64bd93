// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace anaphase::io {

/// A decoded image file before scaling: interleaved values as stored, alpha already dropped.
struct Decoded {
  int width = 0;
  int height = 0;
  int channels = 0;         ///< 1 or 3
  float full_scale = 1.0F;  ///< the stored value that means 1
  bool is_float = false;
  std::vector<float> values;
};

/// PNG, JPEG or BMP from the whole file's bytes. Files that end early are refused.
Decoded decode_with_stb(const std::filesystem::path& path, std::span<const unsigned char> bytes);

/// The first page of a TIFF.
Decoded decode_tiff(const std::filesystem::path& path);

/// Throws when a header's claim is beyond max_image_side or max_image_pixels, or not positive.
void check_image_size(const std::filesystem::path& path, std::int64_t width, std::int64_t height);

}  // namespace anaphase::io
