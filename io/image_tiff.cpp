// SPDX-License-Identifier: Apache-2.0
#include <tiffio.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "io/failure.hpp"
#include "io/image_decode.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;

constexpr tmsize_t max_block_bytes = tmsize_t{1} << 30;

/// Keeps libtiff's first complaint for the Error; libtiff itself prints nothing.
int keep_first_message(TIFF*, void* message, const char*, const char* format, va_list arguments) {
  char text[256];
  std::vsnprintf(text, sizeof text, format, arguments);
  auto* kept = static_cast<std::string*>(message);
  if (kept->empty()) *kept = text;
  kept->resize(std::min(kept->size(), kept->find('\n')));
  while (!kept->empty() && kept->back() == '.') kept->pop_back();
  return 1;
}
int ignore_message(TIFF*, void*, const char*, const char*, va_list) {
  return 1;
}

struct Layout {
  std::uint32_t width = 0, height = 0;
  std::uint16_t samples = 1, bits = 1, format = SAMPLEFORMAT_UINT, planes = PLANARCONFIG_CONTIG;
  std::uint16_t photometric = PHOTOMETRIC_MINISBLACK;
};

Layout read_layout(TIFF* tiff, const fs::path& path) {
  Layout layout;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &layout.width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &layout.height);
  check_image_size(path, layout.width, layout.height);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &layout.samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &layout.bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &layout.format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &layout.planes);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &layout.photometric);

  std::uint16_t compression = COMPRESSION_NONE;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
  if (layout.photometric == PHOTOMETRIC_YCBCR && compression == COMPRESSION_JPEG) {
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    layout.photometric = PHOTOMETRIC_RGB;
  }
  return layout;
}

int colour_channels(const Layout& layout, const fs::path& path) {
  const bool rgb = layout.photometric == PHOTOMETRIC_RGB;
  if (!rgb && layout.photometric != PHOTOMETRIC_MINISBLACK &&
      layout.photometric != PHOTOMETRIC_MINISWHITE) {
    cannot_read(path, "its TIFF colour model is neither grey nor RGB; save it as grey or RGB");
  }
  const int channels = rgb ? 3 : 1;
  if (layout.samples < channels || layout.samples > channels + 1) {
    cannot_read(path, fmt::format("it holds {} channels, neither grey nor RGB (with or without "
                                  "alpha); save the channels you need as grey or RGB",
                                  layout.samples));
  }
  return channels;
}

/// Sample `index` of a decoded row.
float sample(const unsigned char* row, std::size_t index, const Layout& layout) {
  switch (layout.bits) {
    case 1:
      return static_cast<float>(row[index / 8] >> (7 - index % 8) & 1);
    case 8:
      return static_cast<float>(row[index]);
    case 16: {
      std::uint16_t value = 0;
      std::memcpy(&value, row + 2 * index, sizeof value);
      return static_cast<float>(value);
    }
    default: {
      float value = 0;
      std::memcpy(&value, row + 4 * index, sizeof value);
      return value;
    }
  }
}

}  // namespace

Decoded decode_tiff(const fs::path& path) {
  std::string message;
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                             TIFFOpenOptionsFree);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), keep_first_message, &message);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), ignore_message, nullptr);
  const auto damaged = [&] {
    cannot_read(path, fmt::format("the TIFF is truncated or damaged ({}); copy it again from its "
                                  "source",
                                  message.empty() ? "data missing" : message));
  };

  const std::unique_ptr<TIFF, void (*)(TIFF*)> file(TIFFOpenExt(path.c_str(), "r", options.get()),
                                                    TIFFClose);
  if (!file) damaged();
  TIFF* tiff = file.get();
  const Layout layout = read_layout(tiff, path);
  const int channels = colour_channels(layout, path);
  const bool is_float = layout.format == SAMPLEFORMAT_IEEEFP && layout.bits == 32;
  const bool is_unsigned =
      layout.format == SAMPLEFORMAT_UINT &&
      (layout.bits == 8 || layout.bits == 16 || (layout.bits == 1 && layout.samples == 1));
  if (!is_float && !is_unsigned) {
    cannot_read(path, fmt::format("its {}-bit TIFF samples are not supported; save it with 8 or 16 "
                                  "bit unsigned or 32 bit float samples",
                                  layout.bits));
  }

  // Strips are treated as tiles that are as wide as the image.
  const bool tiled = TIFFIsTiled(tiff) != 0;
  std::uint32_t block_width = layout.width, block_height = layout.height;
  if (tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block_height);
  } else {
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block_height);
    block_height = std::min(block_height, layout.height);
  }
  const tmsize_t block_bytes = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
  const tmsize_t row_bytes = tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
  if (block_width == 0 || block_height == 0 || row_bytes <= 0 || block_bytes <= 0 ||
      block_bytes > max_block_bytes) {
    damaged();
  }
  const bool separate = layout.planes == PLANARCONFIG_SEPARATE && layout.samples > 1;
  const int stride = separate ? 1 : layout.samples;  // samples per pixel within a row
  const auto needed_row_bytes =
      static_cast<tmsize_t>((std::uint64_t{block_width} * stride * layout.bits + 7) / 8);
  if (row_bytes < needed_row_bytes) damaged();

  const bool inverted = layout.photometric == PHOTOMETRIC_MINISWHITE;
  Decoded decoded{static_cast<int>(layout.width),
                  static_cast<int>(layout.height),
                  channels,
                  is_float ? 1.0F : static_cast<float>((1 << layout.bits) - 1),
                  is_float,
                  {}};
  decoded.values.resize(std::size_t{layout.width} * layout.height * channels);
  std::vector<unsigned char> block(block_bytes);
  for (int plane = 0; plane < (separate ? channels : 1); ++plane) {
    for (std::uint32_t y0 = 0; y0 < layout.height; y0 += block_height) {
      const std::uint32_t rows = std::min(block_height, layout.height - y0);
      for (std::uint32_t x0 = 0; x0 < layout.width; x0 += block_width) {
        const auto part = static_cast<std::uint16_t>(plane);
        const tmsize_t read =
            tiled ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, x0, y0, 0, part), block.data(),
                                        block_bytes)
                  : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y0, part), block.data(),
                                         block_bytes);
        if (read < static_cast<tmsize_t>(rows) * row_bytes) damaged();
        const std::uint32_t columns = std::min(block_width, layout.width - x0);
        for (std::uint32_t y = 0; y < rows; ++y) {
          const unsigned char* row = block.data() + y * row_bytes;
          for (std::uint32_t x = 0; x < columns; ++x) {
            float* pixel =
                &decoded.values[(std::size_t{y0 + y} * layout.width + x0 + x) * channels];
            for (int c = 0; c < (separate ? 1 : channels); ++c) {
              const float value = sample(row, std::size_t{x} * stride + c, layout);
              if (!std::isfinite(value)) {
                cannot_read(path, "it holds values that are not finite; replace them by numbers");
              }
              pixel[plane + c] = inverted ? decoded.full_scale - value : value;
            }
          }
        }
      }
    }
  }
  return decoded;
}

}  // namespace anaphase::io
