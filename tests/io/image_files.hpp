// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace anaphase::io::testing {

/// PNG bytes written by hand, of any bit depth and colour type (0 grey, 2 RGB, 4 grey + alpha, 6
/// RGBA): `rows` are the packed rows as the format stores them.
std::string make_png(std::uint32_t width, std::uint32_t height, int depth, int colour_type,
                     const std::vector<std::string>& rows);

/// JPEG (quality 100) and BMP of 8-bit pixels.
std::string make_jpeg(int width, int height, int channels,
                      const std::vector<unsigned char>& pixels);
std::string make_bmp(int width, int height, int channels, const std::vector<unsigned char>& pixels);

}  // namespace anaphase::io::testing
