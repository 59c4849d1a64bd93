// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "kernels/common/error.hpp"

namespace anaphase::io {

/// A data set being written, {train,val}/{image,mask}: it grows under a hidden temporary name
/// beside `target` and takes that name in `finish`, so that it appears whole or not at all. Without
/// `finish` the destructor removes it. Throws Error if `target` is anything but new or an empty
/// folder, or if it cannot be made.
class NewDatasetFolder {
 public:
  explicit NewDatasetFolder(const std::filesystem::path& target)
      : target_((std::filesystem::absolute(target) / "").lexically_normal().parent_path()) {
    namespace fs = std::filesystem;
    std::error_code error;
    if (fs::exists(target_, error) &&
        (!fs::is_directory(target_, error) || !fs::is_empty(target_, error))) {
      throw Error(fmt::format("{} is not an empty folder; choose a new one", target.string()));
    }
    path_ = target_.parent_path() /
            fmt::format(".{}.{}.partial", target_.filename().string(), ::getpid());
    fs::remove_all(path_, error);
    for (const char* part : {"train/image", "train/mask", "val/image", "val/mask"}) {
      fs::create_directories(path_ / part, error);
      if (error) {
        throw Error(fmt::format("cannot make folder {}: {}; choose a place that you may write to",
                                target.string(), error.message()));
      }
    }
  }
  NewDatasetFolder(const NewDatasetFolder&) = delete;
  NewDatasetFolder& operator=(const NewDatasetFolder&) = delete;
  ~NewDatasetFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  /// Where to write until `finish`.
  const std::filesystem::path& path() const { return path_; }

  void finish() {
    std::error_code error;
    std::filesystem::rename(path_, target_, error);
    if (error) {
      throw Error(fmt::format("cannot name folder {}: {}; choose another place", target_.string(),
                              error.message()));
    }
  }

 private:
  std::filesystem::path target_, path_;
};

}  // namespace anaphase::io
