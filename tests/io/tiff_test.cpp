// SPDX-License-Identifier: Apache-2.0
#include <tiffio.h>

#include <doctest/doctest.h>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "io/image.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;

namespace {

struct TiffForm {
  std::uint16_t samples = 1, bits = 8, format = SAMPLEFORMAT_UINT;
  std::uint16_t photometric = PHOTOMETRIC_MINISBLACK, compression = COMPRESSION_NONE;
  std::uint16_t planes = PLANARCONFIG_CONTIG;
  std::uint32_t tile = 0;  // side of the tiles; 0 for strips of 2 rows
  const char* mode = "w";
};

/// Value of sample c at (x, y), within 8 bits.
int pattern(int x, int y, int c) {
  return (x * 31 + y * 57 + c * 101) % 256;
}

template <class T>
void write_tiff(const std::filesystem::path& path, int width, int height, const TiffForm& form,
                T (*value)(int, int, int)) {
  TIFF* tiff = TIFFOpen(path.c_str(), form.mode);
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, height);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, form.samples);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, form.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, form.format);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, form.photometric);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, form.compression);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, form.planes);
  if (form.samples == 4) {
    const std::uint16_t alpha = EXTRASAMPLE_UNASSALPHA;
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &alpha);
  }
  const bool separate = form.planes == PLANARCONFIG_SEPARATE;
  const int planes = separate ? form.samples : 1, in_row = separate ? 1 : form.samples;
  const int block_width = form.tile > 0 ? static_cast<int>(form.tile) : width;
  const int block_height = form.tile > 0 ? static_cast<int>(form.tile) : 2;
  if (form.tile > 0) {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, form.tile);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, form.tile);
  } else {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, block_height);
  }
  std::uint32_t block_number = 0;
  for (int plane = 0; plane < planes; ++plane) {
    for (int y0 = 0; y0 < height; y0 += block_height) {
      for (int x0 = 0; x0 < width; x0 += block_width) {
        const int rows = form.tile > 0 ? block_height : std::min(block_height, height - y0);
        std::vector<T> block;
        for (int y = 0; y < rows; ++y) {
          for (int x = 0; x < block_width; ++x) {
            for (int c = 0; c < in_row; ++c) block.push_back(value(x0 + x, y0 + y, plane + c));
          }
        }
        const auto bytes = static_cast<tmsize_t>(block.size() * sizeof(T));
        if (form.tile > 0) {
          TIFFWriteEncodedTile(tiff, block_number++, block.data(), bytes);
        } else {
          TIFFWriteEncodedStrip(tiff, block_number++, block.data(), bytes);
        }
      }
    }
  }
  TIFFClose(tiff);
}

unsigned char pattern8(int x, int y, int c) {
  return static_cast<unsigned char>(pattern(x, y, c));
}
std::uint16_t pattern16(int x, int y, int c) {
  return static_cast<std::uint16_t>(pattern(x, y, c) * 251 + 3);
}
float pattern_float(int x, int y, int c) {
  return static_cast<float>(pattern(x, y, c)) * 7.5F - 90;
}

template <class T>
void check_tiff(const TiffForm& form, T (*value)(int, int, int), double full_scale) {
  const TemporaryFolder folder;
  const int width = 21, height = 35;
  write_tiff(folder / "a.tif", width, height, form, value);
  const Image image = read_image(folder / "a.tif");
  REQUIRE(image.width == width);
  REQUIRE(image.height == height);
  REQUIRE(image.channels == (form.samples >= 3 ? 3 : 1));
  int wrong = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < image.channels; ++c) {
        double expected = static_cast<double>(value(x, y, c)) / full_scale;
        if (form.photometric == PHOTOMETRIC_MINISWHITE) expected = 1 - expected;
        const double got = image.pixels[(y * width + x) * image.channels + c];
        if (!(std::abs(got - expected) <= 1e-6 * std::max(1.0, std::abs(expected)))) ++wrong;
      }
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("TIFF of every supported form") {
  const std::uint16_t rgb = PHOTOMETRIC_RGB;
  for (const std::uint32_t tile : {0U, 16U}) {
    for (const std::uint16_t compression :
         {std::uint16_t{COMPRESSION_NONE}, std::uint16_t{COMPRESSION_LZW},
          std::uint16_t{COMPRESSION_ADOBE_DEFLATE}}) {
      CAPTURE(tile);
      CAPTURE(compression);
      check_tiff({.compression = compression, .tile = tile}, pattern8, 255);
      check_tiff({.bits = 16, .compression = compression, .tile = tile}, pattern16, 65535);
      check_tiff({.samples = 3, .photometric = rgb, .compression = compression, .tile = tile},
                 pattern8, 255);
      check_tiff(
          {.samples = 4, .bits = 16, .photometric = rgb, .compression = compression, .tile = tile},
          pattern16, 65535);
      check_tiff(
          {.bits = 32, .format = SAMPLEFORMAT_IEEEFP, .compression = compression, .tile = tile},
          pattern_float, 1);
    }
    check_tiff({.photometric = PHOTOMETRIC_MINISWHITE, .tile = tile}, pattern8, 255);
    for (const std::uint16_t samples : {std::uint16_t{3}, std::uint16_t{4}}) {
      check_tiff(
          {.samples = samples, .photometric = rgb, .planes = PLANARCONFIG_SEPARATE, .tile = tile},
          pattern8, 255);
    }
  }
  check_tiff({.bits = 16, .mode = "wb8"}, pattern16, 65535);  // big-endian BigTIFF
}

TEST_CASE("1-bit TIFF masks") {
  const TemporaryFolder folder;
  const auto eighths = [](int x, int, int) {
    return static_cast<unsigned char>(x == 0 ? 0xA5 : 0x40);
  };
  TiffForm form{.bits = 1};
  TIFF* tiff = TIFFOpen((folder / "bits.tif").c_str(), "w");
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 10);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 1);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, form.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, form.samples);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, form.photometric);
  unsigned char row[2] = {eighths(0, 0, 0), eighths(1, 0, 0)};
  TIFFWriteEncodedStrip(tiff, 0, row, 2);
  TIFFClose(tiff);
  CHECK(read_mask(folder / "bits.tif", 2).labels ==
        std::vector<std::int32_t>{1, 0, 1, 0, 0, 1, 0, 1, 0, 1});
}

TEST_CASE("TIFF class ids survive, floats are no mask") {
  const TemporaryFolder folder;
  write_tiff<std::uint16_t>(folder / "m.tif", 3, 1, {.bits = 16},
                            [](int x, int, int) { return static_cast<std::uint16_t>(300 * x); });
  CHECK(read_mask(folder / "m.tif", 601).labels == std::vector<std::int32_t>{0, 300, 600});
  write_tiff(folder / "f.tif", 3, 1, {.bits = 32, .format = SAMPLEFORMAT_IEEEFP}, pattern_float);
  CHECK(contains(error_of([&] { read_mask(folder / "f.tif", 2); }), "whole numbers"));
}

TEST_CASE("truncated and unsupported TIFFs are errors, and nothing else is printed") {
  const TemporaryFolder folder;
  for (const std::uint16_t compression :
       {std::uint16_t{COMPRESSION_NONE}, std::uint16_t{COMPRESSION_LZW}}) {
    write_tiff(folder / "whole.tif", 40, 30, {.compression = compression}, pattern8);
    const std::string bytes = read_bytes(folder / "whole.tif");
    for (std::size_t kept = 1; kept < bytes.size(); kept += 7) {
      write_bytes(folder / "cut.tif", bytes.substr(0, kept));
      std::string message;
      const std::string printed =
          stderr_of([&] { message = error_of([&] { read_image(folder / "cut.tif"); }); });
      CHECK(printed.empty());
      CHECK_MESSAGE(contains(message, (folder / "cut.tif").string()), "cut to ", kept, ": ",
                    message);
    }
  }
  write_tiff(
      folder / "nan.tif", 4, 4, {.bits = 32, .format = SAMPLEFORMAT_IEEEFP},
      +[](int x, int, int) { return x == 2 ? std::numeric_limits<float>::quiet_NaN() : 1.0F; });
  CHECK(contains(error_of([&] { read_image(folder / "nan.tif"); }), "not finite"));
  write_tiff(folder / "int.tif", 4, 4, {.format = SAMPLEFORMAT_INT}, pattern8);
  CHECK(contains(error_of([&] { read_image(folder / "int.tif"); }), "8-bit TIFF samples"));
  write_tiff(folder / "cmyk.tif", 4, 4, {.samples = 4, .photometric = PHOTOMETRIC_SEPARATED},
             pattern8);
  CHECK(contains(error_of([&] { read_image(folder / "cmyk.tif"); }), "neither grey nor RGB"));
  write_tiff(folder / "five.tif", 4, 4, {.samples = 5}, pattern8);
  CHECK(contains(error_of([&] { read_image(folder / "five.tif"); }), "5 channels"));
  write_tiff(folder / "wide.tif", 20000, 2, {}, pattern8);
  CHECK(contains(error_of([&] { read_image(folder / "wide.tif"); }), "20000 x 2 pixels"));
}
