// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>

#include "io/failure.hpp"
#include "io/image.hpp"
#include "io/image_decode.hpp"

#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_FAILURE_USERMSG
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const unsigned char>;

constexpr std::array<unsigned char, 8> png_signature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

bool is_png(Bytes bytes) {
  return bytes.size() >= 8 && std::equal(png_signature.begin(), png_signature.end(), bytes.data());
}
bool is_jpeg(Bytes bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8;
}

std::uint32_t big_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[at + i];
  return value;
}
std::uint32_t little_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | bytes[at + i];
  return value;
}

constexpr auto crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? 0xEDB88320U ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  return table;
}();

std::uint32_t crc32(Bytes bytes) {
  std::uint32_t c = 0xFFFFFFFFU;
  for (const unsigned char byte : bytes) c = crc_table[(c ^ byte) & 0xFF] ^ (c >> 8);
  return ~c;
}

// The decoder fills what is missing with zeros and checks no sums, so a file that was cut or
// damaged would pass as a picture. Each check below answers whether the file reaches its end marker
// whole.

bool png_is_whole(Bytes bytes) {
  for (std::size_t at = png_signature.size(); bytes.size() - at >= 12;) {
    const std::size_t length = big_endian(bytes, at, 4);
    if (length > bytes.size() - at - 12) return false;
    const Bytes type_and_data = bytes.subspan(at + 4, length + 4);
    if (crc32(type_and_data) != big_endian(bytes, at + 8 + length, 4)) return false;
    if (std::memcmp(type_and_data.data(), "IEND", 4) == 0) return true;
    at += length + 12;
  }
  return false;
}

/// Whether every Huffman table of a DHT segment names at most 256 symbols: the decoder writes past
/// its own table otherwise.
bool huffman_tables_fit(Bytes tables) {
  while (tables.size() >= 17) {
    const std::size_t symbols =
        std::accumulate(tables.begin() + 1, tables.begin() + 17, std::size_t{0});
    if (symbols > 256 || symbols > tables.size() - 17) return false;
    tables = tables.subspan(17 + symbols);
  }
  return tables.empty();
}

bool jpeg_is_whole(Bytes bytes) {
  const auto has_no_length = [](unsigned char marker) {
    return marker == 0x00 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7);
  };
  for (std::size_t at = 2; at + 1 < bytes.size();) {
    const unsigned char marker = bytes[at + 1];
    if (bytes[at] != 0xFF || marker == 0xFF) {  // compressed data or padding
      ++at;
    } else if (marker == 0xD9) {
      return true;
    } else if (has_no_length(marker)) {
      at += 2;
    } else {
      if (bytes.size() - at < 4) return false;
      const std::size_t length = big_endian(bytes, at + 2, 2);
      if (length < 2 || length > bytes.size() - at - 2) return false;
      if (marker == 0xC4 && !huffman_tables_fit(bytes.subspan(at + 4, length - 2))) return false;
      at += 2 + length;
    }
  }
  return false;
}

bool bmp_is_whole(Bytes bytes) {
  if (bytes.size() < 30) return false;
  const bool old_header = little_endian(bytes, 14, 4) == 12;
  const auto side = [&](std::size_t at) {
    return std::abs(
        static_cast<std::int64_t>(static_cast<std::int32_t>(little_endian(bytes, at, 4))));
  };
  const std::int64_t width = old_header ? little_endian(bytes, 18, 2) : side(18);
  const std::int64_t height = old_header ? little_endian(bytes, 20, 2) : side(22);
  if (width > max_image_side || height > max_image_side) return false;
  const std::int64_t bits = little_endian(bytes, old_header ? 24 : 28, 2);
  const std::int64_t row_bytes = (width * bits + 31) / 32 * 4;
  return little_endian(bytes, 10, 4) + height * row_bytes <=
         static_cast<std::int64_t>(bytes.size());
}

/// Keeps the colours of pixels that have `stored` channels, the last of which may be alpha.
template <class T>
std::vector<float> drop_alpha(const T* pixels, std::size_t count, int stored, int kept,
                              float scale) {
  std::vector<float> values(count * kept);
  for (std::size_t i = 0; i < count; ++i) {
    for (int c = 0; c < kept; ++c) {
      values[i * kept + c] = static_cast<float>(pixels[i * stored + c]) * scale;
    }
  }
  return values;
}

}  // namespace

Decoded decode_with_stb(const fs::path& path, Bytes bytes) {
  const bool png = is_png(bytes), jpeg = is_jpeg(bytes);
  const bool bmp = bytes.size() >= 2 && bytes[0] == 'B' && bytes[1] == 'M';
  if (!png && !jpeg && !bmp) {
    cannot_read(path, "it is not a PNG, JPEG, BMP or TIFF image; replace or remove it");
  }
  if (bytes.size() > 0x7FFFFFFF) {
    cannot_read(path, "the file is larger than 2 GB; cut it into tiles");
  }
  const int size = static_cast<int>(bytes.size());
  const auto damaged = [&] {
    cannot_read(path, "the file is truncated or damaged; copy it again from its source");
  };
  if (jpeg && !jpeg_is_whole(bytes)) damaged();
  if (png && bytes.size() >= 24) {  // the decoder reports no size when it finds it extreme
    check_image_size(path, big_endian(bytes, 16, 4), big_endian(bytes, 20, 4));
  }
  int width = 0, height = 0, stored = 0;
  if (stbi_info_from_memory(bytes.data(), size, &width, &height, &stored) != 0) {
    check_image_size(path, width, height);
  }
  if ((png && !png_is_whole(bytes)) || (bmp && !bmp_is_whole(bytes))) damaged();

  const bool sixteen_bit = stbi_is_16_bit_from_memory(bytes.data(), size) != 0;
  const std::unique_ptr<void, void (*)(void*)> pixels(
      sixteen_bit ? static_cast<void*>(
                        stbi_load_16_from_memory(bytes.data(), size, &width, &height, &stored, 0))
                  : stbi_load_from_memory(bytes.data(), size, &width, &height, &stored, 0),
      stbi_image_free);
  if (!pixels) {
    cannot_read(path,
                fmt::format("the image is damaged or of an unsupported kind ({}); save it again "
                            "as an 8-bit PNG",
                            stbi_failure_reason()));
  }

  Decoded decoded{width, height, stored >= 3 ? 3 : 1, sixteen_bit ? 65535.0F : 255.0F, false, {}};
  const std::size_t count = static_cast<std::size_t>(width) * height;
  if (sixteen_bit) {
    decoded.values = drop_alpha(static_cast<const std::uint16_t*>(pixels.get()), count, stored,
                                decoded.channels, 1.0F);
    return decoded;
  }
  // Grey PNGs of 1, 2 or 4 bits come back stretched to 0..255; undo that, so class ids survive.
  if (png && bytes[25] == 0 && bytes[24] < 8) {
    decoded.full_scale = static_cast<float>((1 << bytes[24]) - 1);
  }
  decoded.values = drop_alpha(static_cast<const unsigned char*>(pixels.get()), count, stored,
                              decoded.channels, decoded.full_scale / 255.0F);
  if (decoded.full_scale < 255.0F) {
    for (float& value : decoded.values) value = std::round(value);
  }
  return decoded;
}

std::vector<unsigned char> encode_png(const Image& image) {
  std::vector<unsigned char> pixels(image.pixels.size());
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const float clamped = std::min(std::max(image.pixels[i], 0.0F), 1.0F);
    pixels[i] = static_cast<unsigned char>(std::lround(clamped * 255.0F));
  }
  std::vector<unsigned char> file;
  const auto append = [](void* context, void* data, int size) {
    const auto* begin = static_cast<const unsigned char*>(data);
    auto* bytes = static_cast<std::vector<unsigned char>*>(context);
    bytes->insert(bytes->end(), begin, begin + size);
  };
  if (stbi_write_png_to_func(append, &file, image.width, image.height, image.channels,
                             pixels.data(), image.width * image.channels) == 0) {
    throw Error(
        fmt::format("cannot encode a PNG of {} x {} pixels: out of memory; write smaller "
                    "images",
                    image.width, image.height));
  }
  return file;
}

}  // namespace anaphase::io
