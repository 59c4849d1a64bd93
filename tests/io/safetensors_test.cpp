// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.hpp"

#include <doctest/doctest.h>
#include <cstring>

#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;

namespace {

TensorEntry entry(const std::string& dtype, std::vector<std::int64_t> shape, std::size_t bytes) {
  TensorEntry result{dtype, std::move(shape), std::vector<std::byte>(bytes)};
  for (std::size_t i = 0; i < bytes; ++i) result.data[i] = static_cast<std::byte>(i * 7 + bytes);
  return result;
}

/// A file of a header and `data_bytes` zeros, its length field stating `stated` when that is given.
std::string file_of(const std::string& header, std::size_t data_bytes,
                    std::uint64_t stated = ~std::uint64_t{0}) {
  const std::uint64_t length = stated == ~std::uint64_t{0} ? header.size() : stated;
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\0');
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

}  // namespace

TEST_CASE("what is written is read back") {
  const TemporaryFolder folder;
  SafeTensors content;
  content.metadata = {{"step", "12"}, {"name", "u-net \"tiny\" \xC3\xA9"}};
  content.tensors["conv.weight"] = entry("F32", {2, 3, 1, 1}, 24);
  content.tensors["a.bytes"] = entry("U8", {5}, 5);
  content.tensors["half"] = entry("BF16", {3}, 6);
  content.tensors["scalar"] = entry("F64", {}, 8);
  content.tensors["empty"] = entry("I32", {0, 4}, 0);
  content.tensors["labels"] = entry("I64", {1, 2}, 16);
  content.tensors["state"] = entry("U64", {2}, 16);
  write_safetensors(folder / "m.safetensors", content);
  const SafeTensors back = read_safetensors(folder / "m.safetensors");
  CHECK(back.metadata == content.metadata);
  REQUIRE(back.tensors.size() == content.tensors.size());
  for (const auto& item : content.tensors) {
    CAPTURE(item.first);
    const TensorEntry& expected = item.second;
    const TensorEntry& got = back.tensors.at(item.first);
    CHECK(got.dtype == expected.dtype);
    CHECK(got.shape == expected.shape);
    CHECK(got.data == expected.data);
  }
  std::uint64_t header_bytes = 0;
  const std::string bytes = read_bytes(folder / "m.safetensors");
  std::memcpy(&header_bytes, bytes.data(), 8);
  CHECK(header_bytes % 8 == 0);
  CHECK(bytes.size() == 8 + header_bytes + 75);

  write_safetensors(folder / "nothing.safetensors", {});
  CHECK(read_safetensors(folder / "nothing.safetensors").tensors.empty());
}

TEST_CASE("a file laid out by hand is read") {
  const TemporaryFolder folder;
  std::string bytes = file_of(
      "{" + tensor("b", "U8", "[2]", "[4,6]") + "," + tensor("a", "F32", "[1]", "[0,4]") + "}   ",
      6);
  const float value = -1.5F;
  std::memcpy(&bytes[bytes.size() - 6], &value, 4);
  bytes.back() = 9;
  write_bytes(folder / "m.safetensors", bytes);
  const SafeTensors content = read_safetensors(folder / "m.safetensors");
  float got = 0;
  std::memcpy(&got, content.tensors.at("a").data.data(), 4);
  CHECK(got == value);
  CHECK(content.tensors.at("b").data[1] == std::byte{9});
}

TEST_CASE("headers that lie are refused in one sentence that names the file") {
  const TemporaryFolder folder;
  const std::string good = tensor("a", "F32", "[2]", "[0,8]");
  const struct {
    const char* what;
    std::string bytes;
    const char* message;
  } cases[] = {
      {"nothing", "", "shorter"},
      {"seven bytes", "1234567", "shorter"},
      {"length beyond the file", file_of("{}", 0, 3), "claims 3 bytes"},
      {"enormous length", file_of("{}", 0, ~std::uint64_t{0} - 1), "claims"},
      {"above 100 MB", file_of("{}", 0, 100'000'001), "claims 100000001"},
      {"text", "this is not a safetensors file", "claims"},
      {"malformed JSON", file_of("{\"a\":", 0), "not valid JSON"},
      {"trailing JSON", file_of("{}{}", 0), "not valid JSON"},
      {"no JSON", file_of("", 0), "not valid JSON"},
      {"deep JSON", file_of(std::string(100000, '['), 0), "not valid JSON"},
      {"list", file_of("[1]", 0), "not a JSON object"},
      {"a name twice", file_of("{" + good + "," + good + "}", 8), "'a' twice"},
      {"a key twice",
       file_of(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
       "'dtype' twice"},
      {"a missing key", file_of(R"({"a":{"dtype":"U8","shape":[0]}})", 0), "other entries"},
      {"no object", file_of(R"({"a":5})", 0), "other entries"},
      {"unknown dtype", file_of("{" + tensor("a", "F7", "[2]", "[0,8]") + "}", 8), "dtype \"F7\""},
      {"dtype a number", file_of(R"({"a":{"dtype":3,"shape":[0],"data_offsets":[0,0]}})", 0),
       "dtype 3"},
      {"negative shape", file_of("{" + tensor("a", "F32", "[-2]", "[0,8]") + "}", 8), "shape [-2]"},
      {"fractional shape", file_of("{" + tensor("a", "F32", "[2.0]", "[0,8]") + "}", 8),
       "shape [2.0]"},
      {"overflowing shape",
       file_of("{" + tensor("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}", 0),
       "impossible"},
      {"overflow by size",
       file_of("{" + tensor("a", "F32", "[4611686018427387904]", "[0,0]") + "}", 0), "impossible"},
      {"shape no list", file_of("{" + tensor("a", "F32", "2", "[0,8]") + "}", 8), "no list"},
      {"too few bytes", file_of("{" + tensor("a", "F32", "[2]", "[0,4]") + "}", 4),
       "4 bytes where"},
      {"out of range", file_of("{" + good + "}", 7), "bytes 0 to 8 of 7"},
      {"offsets reversed", file_of("{" + tensor("a", "F32", "[2]", "[8,0]") + "}", 8),
       "bytes 8 to 0"},
      {"offsets negative", file_of("{" + tensor("a", "F32", "[2]", "[-8,0]") + "}", 8), "pair of"},
      {"one offset", file_of("{" + tensor("a", "F32", "[2]", "[0]") + "}", 8), "pair of"},
      {"overlap", file_of("{" + good + "," + tensor("b", "F32", "[2]", "[4,12]") + "}", 12),
       "overlaps"},
      {"hole", file_of("{" + good + "," + tensor("b", "F32", "[1]", "[12,16]") + "}", 16), "hole"},
      {"hole at the start", file_of("{" + tensor("a", "F32", "[1]", "[4,8]") + "}", 8), "hole"},
      {"trailing data", file_of("{" + good + "}", 9), "1 bytes follow"},
      {"metadata no table", file_of(R"({"__metadata__":[]})", 0), "table of strings"},
      {"metadata no string", file_of(R"({"__metadata__":{"a":1}})", 0), "table of strings"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.what);
    write_bytes(folder / "m.safetensors", one.bytes);
    const std::string message = error_of([&] { read_safetensors(folder / "m.safetensors"); });
    CHECK_MESSAGE(contains(message, one.message), message);
    CHECK(contains(message, (folder / "m.safetensors").string()));
  }
  CHECK(contains(error_of([&] { read_safetensors(folder / "none"); }), "no such file"));
  CHECK(contains(error_of([&] { read_safetensors(folder.path()); }), "is a folder"));
}

TEST_CASE("every truncation is refused") {
  const TemporaryFolder folder;
  SafeTensors content;
  content.tensors["a"] = entry("F32", {3}, 12);
  content.tensors["b"] = entry("U8", {3}, 3);
  write_safetensors(folder / "whole", content);
  const std::string bytes = read_bytes(folder / "whole");
  for (std::size_t kept = 0; kept < bytes.size(); ++kept) {
    write_bytes(folder / "cut", bytes.substr(0, kept));
    CHECK_MESSAGE(contains(error_of([&] { read_safetensors(folder / "cut"); }), "cannot read"),
                  kept);
  }
}

TEST_CASE("a file that is open: its tensors by name, also when it has been replaced or cut since") {
  const TemporaryFolder folder;
  SafeTensors content;
  content.metadata = {{"step", "1"}};
  content.tensors["a"] = entry("F32", {3}, 12);
  content.tensors["b"] = entry("U8", {3}, 3);
  write_safetensors(folder / "m", content);
  SafeTensorsFile file(folder / "m");
  CHECK(file.path() == folder / "m");
  CHECK(file.metadata() == content.metadata);
  REQUIRE(file.places().size() == 2);
  CHECK(file.places().at("a").shape == std::vector<std::int64_t>{3});
  const auto bytes_of = [](SafeTensorsFile& from, const std::string& name) {
    const SafeTensorsFile::Place& place = from.places().at(name);
    std::vector<std::byte> bytes(place.end - place.begin);
    from.read(place, bytes);
    return bytes;
  };
  write_safetensors(folder / "m", {});
  CHECK(bytes_of(file, "b") == content.tensors["b"].data);
  CHECK(bytes_of(file, "a") == content.tensors["a"].data);

  write_safetensors(folder / "m", content);
  SafeTensorsFile cut(folder / "m");
  std::filesystem::resize_file(folder / "m", std::filesystem::file_size(folder / "m") - 1);
  CHECK(contains(error_of([&] { bytes_of(cut, "b"); }), "it was cut"));
  CHECK(bytes_of(cut, "a") == content.tensors["a"].data);
}

TEST_CASE("tensors that do not fit their shape are not written") {
  const TemporaryFolder folder;
  const auto write = [&](const TensorEntry& bad) {
    SafeTensors content;
    content.tensors["bad"] = bad;
    return error_of([&] { write_safetensors(folder / "m.safetensors", content); });
  };
  CHECK(contains(write(entry("F32", {2}, 7)), "'bad' has 7 bytes"));
  CHECK(contains(write(entry("F16", {2}, 4)), "dtype F16"));
  SafeTensors not_text;
  not_text.metadata["a"] = "\xFF";
  CHECK(
      contains(error_of([&] { write_safetensors(folder / "m.safetensors", not_text); }), "UTF-8"));
  CHECK(!std::filesystem::exists(folder / "m.safetensors"));
}
