// SPDX-License-Identifier: Apache-2.0
#include "io/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "io/failure.hpp"

namespace anaphase::io {
namespace {

namespace fs = std::filesystem;

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free some space and run again";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a place that you may write to";
    case ENOENT:
    case ENOTDIR:
      return "make its folder first";
    case EISDIR:
      return "give the name of a file";
    default:
      return "check the disk and run again";
  }
}

[[noreturn]] void cannot_write(const fs::path& path, int error) {
  throw Error(
      fmt::format("cannot write {}: {}; {}", path.string(), std::strerror(error), remedy(error)));
}

/// A file being written. Unless `close` succeeds, the destructor closes it and removes `discard`.
class OutputFile {
 public:
  OutputFile(const fs::path& path, const fs::path& shown, bool temporary)
      : path_(path), shown_(shown), temporary_(temporary) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) cannot_write(shown_, errno);
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    if (temporary_) ::unlink(path_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) cannot_write(shown_, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  /// Flushes to the disk and gives the file its final name.
  void rename_to(const fs::path& target) {
    if (::fsync(descriptor_) != 0 || ::rename(path_.c_str(), target.c_str()) != 0) {
      cannot_write(shown_, errno);
    }
    ::close(descriptor_);
    descriptor_ = -1;
  }

 private:
  fs::path path_;
  fs::path shown_;
  bool temporary_;
  int descriptor_ = -1;
};

void flush_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // the rename has happened; only its durability is at stake
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

void write_file_atomically(const fs::path& path,
                           std::span<const std::span<const std::byte>> pieces) {
  std::error_code ignored;
  fs::path target = fs::is_symlink(path, ignored) ? fs::weakly_canonical(path, ignored) : path;
  if (target.empty()) target = path;
  const fs::file_status status = fs::status(target, ignored);
  if (fs::is_directory(status)) cannot_write(path, EISDIR);

  if (fs::exists(status) && !fs::is_regular_file(status)) {
    OutputFile device(target, path, false);
    for (const auto piece : pieces) device.write(piece);
    return;
  }
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const fs::path temporary =
      folder / fmt::format(".{}.{}.partial", target.filename().string(), ::getpid());
  OutputFile file(temporary, path, true);
  for (const auto piece : pieces) file.write(piece);
  file.rename_to(target);
  flush_folder(folder);
}

void write_file_atomically(const fs::path& path, std::span<const unsigned char> bytes) {
  const std::span<const std::byte> piece = std::as_bytes(bytes);
  write_file_atomically(path, std::span(&piece, 1));
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(bytes));
  write_file_atomically(path, std::span(&piece, 1));
}

void remove_partial_files(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.') && name.ends_with(".partial")) fs::remove(entry.path(), ignored);
  }
}

std::vector<unsigned char> read_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) cannot_read(path, "there is no such file; check the name");
  if (fs::is_directory(status)) cannot_read(path, "it is a folder; give the name of a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) cannot_read(path, fmt::format("{}; check its permissions", std::strerror(errno)));
  std::vector<unsigned char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) cannot_read(path, "the disk reported an error; copy the file again");
  return bytes;
}

}  // namespace anaphase::io
