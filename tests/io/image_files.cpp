// SPDX-License-Identifier: Apache-2.0
#include "tests/io/image_files.hpp"

#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

namespace anaphase::io::testing {
namespace {

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

std::string chunk(const std::string& type, const std::string& data) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : type + data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB88320U : crc >> 1;
  }
  return big_endian(static_cast<std::uint32_t>(data.size())) + type + data + big_endian(~crc);
}

/// A zlib stream of one uncompressed block (at most 65535 bytes).
std::string zlib_stored(const std::string& data) {
  std::uint32_t a = 1, b = 0;
  for (const char c : data) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  const auto n = static_cast<unsigned>(data.size());
  std::string stream = "\x78\x01\x01";
  for (const unsigned half : {n, ~n}) {
    stream += static_cast<char>(half & 0xFF);
    stream += static_cast<char>(half >> 8 & 0xFF);
  }
  return stream + data + big_endian(b << 16 | a);
}

void append(void* context, void* data, int size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), size);
}

}  // namespace

std::string make_png(std::uint32_t width, std::uint32_t height, int depth, int colour_type,
                     const std::vector<std::string>& rows) {
  std::string header = big_endian(width) + big_endian(height);
  for (const int byte : {depth, colour_type, 0, 0, 0}) header += static_cast<char>(byte);
  std::string data;
  for (const std::string& row : rows) data += '\0' + row;
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", header) + chunk("IDAT", zlib_stored(data)) +
         chunk("IEND", "");
}

std::string make_jpeg(int width, int height, int channels,
                      const std::vector<unsigned char>& pixels) {
  std::string bytes;
  stbi_write_jpg_to_func(append, &bytes, width, height, channels, pixels.data(), 100);
  return bytes;
}

std::string make_bmp(int width, int height, int channels,
                     const std::vector<unsigned char>& pixels) {
  std::string bytes;
  stbi_write_bmp_to_func(append, &bytes, width, height, channels, pixels.data());
  return bytes;
}

}  // namespace anaphase::io::testing
