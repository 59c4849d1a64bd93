// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace anaphase::io {

/// Replaces the file at `path` by `bytes`, wholly or not at all: the bytes go to a hidden file
/// `.NAME.PID.partial` in the same folder, are flushed to the disk, and take the name `path` in one
/// step. On any failure (disk full, no permission) the old file stays as it was, the temporary file
/// is removed and an Error is thrown. A symbolic link is followed; a device or pipe such as
/// /dev/stdout is written directly. The folder of `path` must exist.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);
void write_file_atomically(const std::filesystem::path& path, std::span<const unsigned char> bytes);

/// The same, for bytes that lie in several pieces (written one after the other, not joined first).
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> pieces);

/// Removes what killed processes left behind in `folder`: files named `.*.partial`.
void remove_partial_files(const std::filesystem::path& folder);

/// All bytes of a regular file; an Error when it is missing, a folder, or cannot be read.
std::vector<unsigned char> read_file(const std::filesystem::path& path);

}  // namespace anaphase::io
