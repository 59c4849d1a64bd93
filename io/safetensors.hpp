// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace anaphase::io {

/// One named array: little-endian values, the last dimension fastest. An empty shape is a scalar.
struct TensorEntry {
  std::string dtype;  ///< "F64", "F32", "BF16", "I64", "I32", "U64" or "U8"
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;  ///< product of shape times dtype_size(dtype) bytes
};

/// The content of a safetensors file: an 8-byte little-endian length, a JSON header of that length,
/// and the tensors' bytes without gaps.
struct SafeTensors {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;  ///< the header's "__metadata__"
};

/// Bytes per value; 0 for a dtype that is not supported.
std::size_t dtype_size(std::string_view dtype);

/// A file that is open. Its header is checked on opening and not trusted: a length beyond the file
/// or above 100 MB, malformed JSON, a name given twice, an unknown dtype, an impossible shape, and
/// byte ranges that overlap, leave the file, leave holes or do not fit their shape are each an
/// Unreadable that names the file. Values are read when they are asked for, by one thread at a
/// time; the file may be replaced meanwhile, as write_file_atomically does it.
class SafeTensorsFile {
 public:
  /// Where a tensor lies: bytes of the file from `begin` to `end`.
  struct Place {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0, end = 0;
  };

  explicit SafeTensorsFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::map<std::string, Place>& places() const { return places_; }
  /// Fills `values`, which is as long as the place; throws Unreadable where the disk fails or the
  /// file has been cut since it was opened.
  void read(const Place& place, std::span<std::byte> values);

 private:
  std::filesystem::path path_;
  std::ifstream file_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Place> places_;
};

/// Reads a whole file.
SafeTensors read_safetensors(const std::filesystem::path& path);

/// Writes atomically (see write_file_atomically). Tensors lie in the order of falling dtype size,
/// then name, after a header padded with spaces to a multiple of 8 bytes, so every value is
/// aligned.
void write_safetensors(const std::filesystem::path& path, const SafeTensors& content);

}  // namespace anaphase::io
