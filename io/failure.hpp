// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string_view>

#include "kernels/common/error.hpp"

namespace anaphase::io {

/// A file is not there, damaged or of another kind.
class Unreadable : public Error {
 public:
  using Error::Error;
};

/// Throws "cannot read PATH: WHY", where WHY ends with the remedy.
[[noreturn]] inline void cannot_read(const std::filesystem::path& path, std::string_view why) {
  throw Unreadable(fmt::format("cannot read {}: {}", path.string(), why));
}

}  // namespace anaphase::io
