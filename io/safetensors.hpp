// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
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

/// Reads a whole file. The header is not trusted: a length beyond the file or above 100 MB,
/// malformed JSON, a name given twice, an unknown dtype, an impossible shape, and byte ranges that
/// overlap, leave the file, leave holes or do not fit their shape are each an Error that names the
/// file.
SafeTensors read_safetensors(const std::filesystem::path& path);

/// The metadata alone, without reading the tensors' bytes (the header is checked all the same).
std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path);

/// Writes atomically (see write_file_atomically). Tensors lie in the order of falling dtype size,
/// then name, after a header padded with spaces to a multiple of 8 bytes, so every value is
/// aligned.
void write_safetensors(const std::filesystem::path& path, const SafeTensors& content);

}  // namespace anaphase::io
