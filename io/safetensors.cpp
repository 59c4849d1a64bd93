// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "io/atomic_file.hpp"
#include "io/failure.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little,
              "values are copied as they lie in memory");

constexpr std::uint64_t max_header_bytes = 100'000'000;

constexpr std::array<std::pair<std::string_view, std::size_t>, 7> dtypes{
    {{"F64", 8}, {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4}, {"BF16", 2}, {"U8", 1}}};

using Place = SafeTensorsFile::Place;

[[noreturn]] void lying(const fs::path& path, std::string_view what) {
  cannot_read(path, fmt::format("{}, so it is not a whole safetensors file; copy it again or use "
                                "another checkpoint",
                                what));
}

[[noreturn]] void disk_failed(const fs::path& path) {
  cannot_read(path, "it was cut, or the disk reported an error; copy the file again");
}

/// Parses JSON in which no object names a key twice.
json parse_without_duplicates(const std::string& text, const fs::path& path) {
  std::vector<std::set<std::string>> open_objects;
  const auto check = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key) {
      const auto name = parsed.get<std::string>();
      if (!open_objects.back().insert(name).second) {
        lying(path, fmt::format("its header names '{}' twice", name));
      }
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception&) {
    lying(path, "its header is not valid JSON");
  }
}

/// The place of a tensor in the `data_bytes` after the header.
Place parse_place(const std::string& name, const json& description, std::uint64_t data_bytes,
                  const fs::path& path) {
  const auto fail = [&](std::string_view what) {
    lying(path, fmt::format("its header gives tensor '{}' {}", name, what));
  };
  if (!description.is_object() || description.size() != 3 || !description.contains("dtype") ||
      !description.contains("shape") || !description.contains("data_offsets")) {
    fail("other entries than dtype, shape and data_offsets");
  }
  const json &dtype = description["dtype"], &shape = description["shape"],
             &offsets = description["data_offsets"];
  Place place;
  if (dtype.is_string()) place.dtype = dtype.get<std::string>();
  std::uint64_t bytes = dtype_size(place.dtype);
  if (bytes == 0) fail(fmt::format("the unsupported dtype {}", dtype.dump()));

  if (!shape.is_array()) fail("no list as its shape");
  for (const json& side : shape) {
    if (!side.is_number_unsigned() ||
        side.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max() ||
        __builtin_mul_overflow(bytes, side.get<std::uint64_t>(), &bytes)) {
      fail(fmt::format("the impossible shape {}", shape.dump()));
    }
    place.shape.push_back(side.get<std::int64_t>());
  }

  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    fail("no pair of offsets");
  }
  place.begin = offsets[0].get<std::uint64_t>();
  place.end = offsets[1].get<std::uint64_t>();
  if (place.begin > place.end || place.end > data_bytes) {
    fail(fmt::format("the bytes {} to {} of {}", place.begin, place.end, data_bytes));
  }
  if (place.end - place.begin != bytes) {
    fail(fmt::format("{} bytes where its shape needs {}", place.end - place.begin, bytes));
  }
  return place;
}

/// The parsed header; leaves `file` at the first of the `data_bytes` after it.
json read_header(std::ifstream& file, const fs::path& path, std::uint64_t& data_bytes) {
  std::error_code error;
  if (fs::is_directory(path, error)) cannot_read(path, "it is a folder; give the name of a file");
  const std::uint64_t file_bytes = fs::file_size(path, error);
  if (error || !file) cannot_read(path, "there is no such file, or it may not be read");
  if (file_bytes < 8) lying(path, "it is shorter than the length of a header");
  std::uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  if (header_bytes > file_bytes - 8 || header_bytes > max_header_bytes) {
    lying(path, fmt::format("its header claims {} bytes", header_bytes));
  }
  std::string text(header_bytes, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(header_bytes))) disk_failed(path);
  data_bytes = file_bytes - 8 - header_bytes;
  json parsed = parse_without_duplicates(text, path);
  if (!parsed.is_object()) lying(path, "its header is not a JSON object");
  return parsed;
}

std::map<std::string, std::string> parse_metadata(const json& table, const fs::path& path) {
  std::map<std::string, std::string> metadata;
  if (!table.is_object()) lying(path, "its metadata is not a table of strings");
  for (const auto& [key, value] : table.items()) {
    if (!value.is_string()) lying(path, "its metadata is not a table of strings");
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

/// Tensors have to fill the `data_bytes`, one after the other.
void require_no_gaps(const std::map<std::string, Place>& places, std::uint64_t data_bytes,
                     const fs::path& path) {
  std::vector<const std::pair<const std::string, Place>*> order;
  order.reserve(places.size());
  for (const auto& named : places) order.push_back(&named);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::uint64_t at = 0;
  for (const auto* named : order) {
    const auto& [name, place] = *named;
    if (place.begin != at) {
      lying(path, fmt::format("tensor '{}' {} the bytes before it", name,
                              place.begin < at ? "overlaps" : "leaves a hole after"));
    }
    at = place.end;
  }
  if (at != data_bytes) lying(path, fmt::format("{} bytes follow its tensors", data_bytes - at));
}

std::string make_header(const SafeTensors& content, const std::vector<const std::string*>& order,
                        const fs::path& path) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  std::uint64_t at = 0;
  for (const std::string* name : order) {
    const TensorEntry& entry = content.tensors.at(*name);
    std::uint64_t bytes = dtype_size(entry.dtype);
    for (const std::int64_t side : entry.shape) bytes *= static_cast<std::uint64_t>(side);
    if (bytes != entry.data.size() || dtype_size(entry.dtype) == 0 || *name == "__metadata__") {
      throw Error(
          fmt::format("cannot write {}: tensor '{}' has {} bytes, but its dtype {} and shape need "
                      "{}; give it a supported dtype and all of its values",
                      path.string(), *name, entry.data.size(), entry.dtype, bytes));
    }
    header[*name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    return text;
  } catch (const nlohmann::json::exception&) {
    throw Error(fmt::format("cannot write {}: a name or its metadata is not UTF-8 text; rename it",
                            path.string()));
  }
}

}  // namespace

std::size_t dtype_size(std::string_view dtype) {
  for (const auto& [name, size] : dtypes) {
    if (name == dtype) return size;
  }
  return 0;
}

SafeTensorsFile::SafeTensorsFile(fs::path path)
    : path_(std::move(path)), file_(path_, std::ios::binary) {
  std::uint64_t data_bytes = 0;
  const json header = read_header(file_, path_, data_bytes);
  for (const auto& [name, description] : header.items()) {
    if (name == "__metadata__")
      metadata_ = parse_metadata(description, path_);
    else
      places_.emplace(name, parse_place(name, description, data_bytes, path_));
  }
  require_no_gaps(places_, data_bytes, path_);
  const auto data = static_cast<std::uint64_t>(file_.tellg());
  for (auto& [name, place] : places_) {
    place.begin += data;
    place.end += data;
  }
}

void SafeTensorsFile::read(const Place& place, std::span<std::byte> values) {
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(place.begin));
  if (!file_.read(reinterpret_cast<char*>(values.data()),
                  static_cast<std::streamsize>(values.size())))
    disk_failed(path_);
}

SafeTensors read_safetensors(const fs::path& path) {
  SafeTensorsFile file(path);
  SafeTensors content{{}, file.metadata()};
  for (const auto& [name, place] : file.places()) {
    TensorEntry entry{place.dtype, place.shape, std::vector<std::byte>(place.end - place.begin)};
    file.read(place, entry.data);
    content.tensors.emplace(name, std::move(entry));
  }
  return content;
}

void write_safetensors(const fs::path& path, const SafeTensors& content) {
  std::vector<const std::string*> order;
  for (const auto& [name, entry] : content.tensors) order.push_back(&name);
  std::stable_sort(order.begin(), order.end(), [&](const std::string* a, const std::string* b) {
    return dtype_size(content.tensors.at(*a).dtype) > dtype_size(content.tensors.at(*b).dtype);
  });
  const std::string header = make_header(content, order, path);
  const std::uint64_t header_bytes = header.size();
  std::vector<std::span<const std::byte>> pieces{std::as_bytes(std::span(&header_bytes, 1)),
                                                 std::as_bytes(std::span(header))};
  for (const std::string* name : order) pieces.emplace_back(content.tensors.at(*name).data);
  write_file_atomically(path, pieces);
}

}  // namespace anaphase::io
