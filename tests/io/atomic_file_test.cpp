// SPDX-License-Identifier: Apache-2.0
#include "io/atomic_file.hpp"

#include <sys/resource.h>

#include <doctest/doctest.h>
#include <csignal>
#include <string>

#include "tests/io/temporary_folder.hpp"

using namespace anaphase::io;
using namespace anaphase::io::testing;

namespace {

std::size_t file_count(const std::filesystem::path& folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

/// While it lives, no file of this process may grow beyond `bytes`: a full disk that needs no root.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

}  // namespace

TEST_CASE("a written file holds the bytes and leaves no other file") {
  const TemporaryFolder folder;
  const auto path = folder / "a.bin";
  write_file_atomically(path, std::string_view("first"));
  write_file_atomically(path, std::string_view("second\0x", 8));
  CHECK(read_bytes(path) == std::string("second\0x", 8));
  CHECK(file_count(folder.path()) == 1);
  const std::vector<unsigned char> bytes = read_file(path);
  CHECK(bytes.size() == 8);
}

TEST_CASE("a disk that fills up leaves the old file whole and no temporary file") {
  const TemporaryFolder folder;
  const auto path = folder / "a.bin";
  write_file_atomically(path, std::string_view("old"));
  std::string message;
  {
    const FileSizeLimit limit(1000);
    message = error_of([&] { write_file_atomically(path, std::string(5000, 'x')); });
  }
  CHECK(contains(message, "cannot write " + path.string()));
  CHECK(contains(message, "free some space"));
  CHECK(read_bytes(path) == "old");
  CHECK(file_count(folder.path()) == 1);
}

TEST_CASE("places that cannot be written are named") {
  const TemporaryFolder folder;
  CHECK(contains(error_of([&] { write_file_atomically(folder / "no/a", std::string_view("x")); }),
                 "make its folder first"));
  CHECK(contains(error_of([&] { write_file_atomically(folder.path(), std::string_view("x")); }),
                 "Is a directory"));
}

TEST_CASE("a symbolic link is followed and a device written directly") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "target", std::string_view("old"));
  std::filesystem::create_symlink("target", folder / "link");
  write_file_atomically(folder / "link", std::string_view("new"));
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(read_bytes(folder / "target") == "new");
  CHECK_NOTHROW(write_file_atomically("/dev/null", std::string_view("x")));
  CHECK(std::filesystem::is_character_file("/dev/null"));
}

TEST_CASE("only unfinished files are swept up") {
  const TemporaryFolder folder;
  write_bytes(folder / ".model.safetensors.123.partial", "half");
  write_bytes(folder / "mine.partial", "kept");
  remove_partial_files(folder.path());
  CHECK(file_count(folder.path()) == 1);
  CHECK(read_bytes(folder / "mine.partial") == "kept");
}

TEST_CASE("reading names what is wrong") {
  const TemporaryFolder folder;
  CHECK(contains(error_of([&] { read_file(folder / "none"); }), "no such file"));
  CHECK(contains(error_of([&] { read_file(folder.path()); }), "is a folder"));
}
