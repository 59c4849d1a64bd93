// SPDX-License-Identifier: Apache-2.0
#include "io/image.hpp"

#include <doctest/doctest.h>
#include <cmath>
#include <string>
#include <vector>

#include "tests/io/image_files.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;
using namespace std::string_literals;

namespace {

/// Values close to thirds and ends of the range, in no order.
Image ramp(int width, int height, int channels) {
  Image image{width, height, channels, {}};
  for (int i = 0; i < width * height * channels; ++i) {
    image.pixels.push_back(static_cast<float>(i * 37 % 256) / 255.0F);
  }
  return image;
}

void check_pixels(const Image& image, const std::vector<double>& expected,
                  double tolerance = 1e-7) {
  REQUIRE(image.pixels.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK_MESSAGE(std::abs(image.pixels[i] - expected[i]) <= tolerance, "value ", i);
  }
}

std::string read_error(const std::filesystem::path& path) {
  std::string message = error_of([&] { read_image(path); });
  CHECK(contains(message, path.string()));
  CHECK(!contains(message, "\n"));
  return message;
}

}  // namespace

TEST_CASE("what write_png writes is read back exactly") {
  const TemporaryFolder folder;
  for (const int channels : {1, 3}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {7, 5}, {64, 33}}) {
      const Image image = ramp(width, height, channels);
      write_png(folder / "a.png", image);
      const Image back = read_image(folder / "a.png");
      CHECK(back.width == width);
      CHECK(back.height == height);
      CHECK(back.channels == channels);
      CHECK(back.pixels == image.pixels);
    }
  }
  write_png(folder / "b.png", {3, 1, 1, {-2.0F, 0.5F, 7.0F}});
  check_pixels(read_image(folder / "b.png"), {0, 128.0 / 255, 1});
}

TEST_CASE("PNG of 16 bit, with alpha and with few bits") {
  const TemporaryFolder folder;
  write_bytes(folder / "deep.png", make_png(2, 1, 16, 0, {"\x12\x34\xFF\xFF"s}));
  check_pixels(read_image(folder / "deep.png"), {0x1234 / 65535.0, 1});

  write_bytes(folder / "rgba.png",
              make_png(1, 2, 8, 6, {"\x10\x20\x30\x00"s, "\xFF\x00\x80\x40"s}));
  const Image rgba = read_image(folder / "rgba.png");
  CHECK(rgba.channels == 3);
  check_pixels(rgba, {16 / 255.0, 32 / 255.0, 48 / 255.0, 1, 0, 128 / 255.0});

  write_bytes(folder / "rgba16.png", make_png(1, 1, 16, 6, {"\x00\x01\x80\x00\xFF\xFF\x00\x00"s}));
  check_pixels(read_image(folder / "rgba16.png"), {1 / 65535.0, 32768 / 65535.0, 1});

  write_bytes(folder / "grey-alpha.png", make_png(2, 1, 8, 4, {"\x33\x00\x66\xFF"s}));
  const Image grey = read_image(folder / "grey-alpha.png");
  CHECK(grey.channels == 1);
  check_pixels(grey, {0.2, 0.4});

  write_bytes(folder / "bits.png", make_png(10, 1, 1, 0, {"\xA0\x40"s}));  // 1010 0000 01
  check_pixels(read_image(folder / "bits.png"), {1, 0, 1, 0, 0, 0, 0, 0, 0, 1});
  CHECK(read_mask_values(folder / "bits.png").labels[9] == 1);
  write_bytes(folder / "nibbles.png", make_png(3, 1, 4, 0, {"\x3F\x50"s}));
  check_pixels(read_image(folder / "nibbles.png"), {0.2, 1, 1 / 3.0});
  CHECK(read_mask_values(folder / "nibbles.png").labels == std::vector<std::int32_t>{3, 15, 5});
}

TEST_CASE("JPEG and BMP") {
  const TemporaryFolder folder;
  const std::vector<unsigned char> flat(9 * 10 * 3, 200);
  write_bytes(folder / "a.jpg", make_jpeg(9, 10, 3, flat));
  check_pixels(read_image(folder / "a.jpg"), std::vector<double>(flat.size(), 200 / 255.0), 0.005);

  const std::vector<unsigned char> colours{255, 0, 10, 20, 30, 40, 1,  2,  3,
                                           4,   5, 6,  7,  8,  9,  99, 98, 97};
  write_bytes(folder / "a.bmp", make_bmp(3, 2, 3, colours));
  std::vector<double> expected;
  expected.reserve(colours.size());
  for (const unsigned char value : colours) expected.push_back(value / 255.0);
  check_pixels(read_image(folder / "a.bmp"), expected);
}

TEST_CASE("any truncation is an error") {
  const TemporaryFolder folder;
  std::vector<unsigned char> pixels;
  pixels.reserve(16 * 12);
  for (int i = 0; i < 16 * 12; ++i) pixels.push_back(static_cast<unsigned char>(i * 29));
  write_png(folder / "whole.png", ramp(16, 12, 1));
  for (const auto& [name, bytes] : {std::pair{"a.png", read_bytes(folder / "whole.png")},
                                    {"a.jpg", make_jpeg(16, 12, 1, pixels)},
                                    {"a.bmp", make_bmp(16, 12, 1, pixels)}}) {
    const auto path = folder / name;
    write_bytes(path, bytes);
    CHECK_NOTHROW(read_image(path));
    for (std::size_t kept = 1; kept < bytes.size(); ++kept) {
      write_bytes(path, bytes.substr(0, kept));
      const std::string message = error_of([&] { read_image(path); });
      CHECK_MESSAGE(contains(message, "cannot read"), path.string(), " cut to ", kept);
    }
  }
}

TEST_CASE("a changed byte of a PNG is noticed") {
  const TemporaryFolder folder;
  write_png(folder / "whole.png", ramp(16, 12, 1));
  std::string bytes = read_bytes(folder / "whole.png");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_bytes(folder / "a.png", bytes);
  CHECK(contains(read_error(folder / "a.png"), "truncated or damaged"));
}

TEST_CASE("a JPEG whose Huffman table claims more symbols than there are bytes is refused") {
  const TemporaryFolder folder;
  std::string bytes = make_jpeg(8, 8, 1, std::vector<unsigned char>(64, 100));
  const std::size_t table = bytes.find("\xFF\xC4");
  REQUIRE(table != bytes.npos);
  for (std::size_t i = 0; i < 16; ++i) bytes[table + 5 + i] = '\xFF';
  write_bytes(folder / "a.jpg", bytes);
  CHECK(contains(read_error(folder / "a.jpg"), "truncated or damaged"));
}

TEST_CASE("files that are no picture") {
  const TemporaryFolder folder;
  CHECK(contains(read_error(folder / "missing.png"), "no such file"));
  std::filesystem::create_directory(folder / "folder.png");
  CHECK(contains(read_error(folder / "folder.png"), "is a folder"));
  write_bytes(folder / "empty.png", "");
  CHECK(contains(read_error(folder / "empty.png"), "is empty"));
  write_bytes(folder / "text.png", "name,value\n1,2\n");
  CHECK(contains(read_error(folder / "text.png"), "not a PNG, JPEG, BMP or TIFF"));
  write_bytes(folder / "short.jpg", "\xFF");
  CHECK(contains(read_error(folder / "short.jpg"), "not a PNG"));
  write_bytes(folder / "a.gif", "GIF89a");
  CHECK(contains(read_error(folder / "a.gif"), "extension"));
}

TEST_CASE("huge headers are refused before decoding") {
  const TemporaryFolder folder;
  for (const std::uint32_t side : {16385U, 30000U, 1U << 25, 0x7FFFFFFFU}) {
    write_bytes(folder / "wide.png", make_png(side, 1, 8, 0, {"x"}));
    CHECK(contains(read_error(folder / "wide.png"), std::to_string(side) + " x 1 pixels"));
    write_bytes(folder / "high.png", make_png(1, side, 8, 0, {"x"}));
    CHECK(contains(read_error(folder / "high.png"), "1 x " + std::to_string(side)));
  }
  std::string bmp = make_bmp(1, 1, 3, {1, 2, 3});
  bmp.replace(18, 4, "\x30\x75\x00\x00"s);  // 30000 pixels wide
  write_bytes(folder / "wide.bmp", bmp);
  CHECK(contains(read_error(folder / "wide.bmp"), "30000 x 1 pixels"));
}

TEST_CASE("masks of two classes hold 0 and 1, or 0 and 255") {
  const TemporaryFolder folder;
  const auto mask = [&](const std::string& row, int classes) {
    write_bytes(folder / "m.png", make_png(static_cast<std::uint32_t>(row.size()), 1, 8, 0, {row}));
    return read_mask(folder / "m.png", classes).labels;
  };
  using Labels = std::vector<std::int32_t>;
  CHECK(mask("\x00\xFF\x00"s, 2) == Labels{0, 1, 0});
  CHECK(mask("\xFF\xFF"s, 2) == Labels{1, 1});
  CHECK(mask("\x00\x00"s, 2) == Labels{0, 0});
  CHECK(mask("\x01\x00"s, 2) == Labels{1, 0});
  CHECK(mask("\x03\x00\x02"s, 4) == Labels{3, 0, 2});

  const std::string grey = error_of([&] { mask("\x00\xFF\x7F\x03"s, 2); });
  CHECK(contains(grey, "m.png"));
  CHECK(contains(grey, "value 127"));
  CHECK(contains(grey, "threshold"));
  CHECK(contains(error_of([&] { mask("\x00\x01\xFF"s, 2); }), "both 1 and 255"));
  const std::string high = error_of([&] { mask("\x00\x04\x05"s, 4); });
  CHECK(contains(high, "value 4"));
  CHECK(contains(high, "0 to 3"));
  CHECK(contains(error_of([&] { mask("\x00\xFF"s, 4); }), "value 255"));

  write_bytes(folder / "deep.png", make_png(2, 1, 16, 0, {"\xFF\xFF\x00\x00"s}));
  CHECK(read_mask(folder / "deep.png", 2).labels == Labels{1, 0});
}

TEST_CASE("an RGB mask counts as grey only when its channels are equal") {
  const TemporaryFolder folder;
  write_bytes(folder / "m.png", make_png(2, 1, 8, 2, {"\x02\x02\x02\x01\x01\x01"s}));
  CHECK(read_mask(folder / "m.png", 3).labels == std::vector<std::int32_t>{2, 1});
  write_bytes(folder / "m.png", make_png(2, 1, 8, 2, {"\x02\x02\x02\xFF\x00\x07"s}));
  const std::string message = error_of([&] { read_mask(folder / "m.png", 3); });
  CHECK(contains(message, "pixel (1, 0) has the colour (255, 0, 7)"));
}

TEST_CASE("masks are written as ids or as 0 and 255") {
  const TemporaryFolder folder;
  const LabelMap mask{3, 2, {0, 1, 2, 3, 254, 0}};
  write_mask(folder / "ids.png", mask, false);
  CHECK(read_mask_values(folder / "ids.png").labels == mask.labels);
  write_mask(folder / "bw.png", mask, true);
  CHECK(read_mask_values(folder / "bw.png").labels ==
        std::vector<std::int32_t>{0, 255, 255, 255, 255, 0});
  CHECK(contains(error_of([&] { write_mask(folder / "x.png", {1, 1, {256}}, false); }), "256"));
  CHECK(!std::filesystem::exists(folder / "x.png"));
}

TEST_CASE("grey and RGB convert into each other") {
  const Image rgb = convert_channels({2, 1, 1, {0.25F, 1.0F}}, 3);
  check_pixels(rgb, {0.25, 0.25, 0.25, 1, 1, 1});
  check_pixels(convert_channels({1, 1, 3, {1.0F, 0.5F, 0.25F}}, 1),
               {0.299 + 0.587 * 0.5 + 0.114 * 0.25}, 1e-6);
  check_pixels(convert_channels(rgb, 1), {0.25, 1}, 1e-6);
}
