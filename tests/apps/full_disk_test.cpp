// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mount.h>

#include <filesystem>
#include <string>

#include "tests/apps/command.hpp"

using namespace anaphase::apps::testing;
namespace fs = std::filesystem;

namespace {

/// Checks that training failed because `run` could not take a file, and left no part of one.
void check_out_of_space(const Outcome& outcome, const fs::path& run) {
  CAPTURE(outcome.err);
  CHECK(outcome.code == 1);
  const std::size_t line = outcome.err.find("anaphase: ");
  REQUIRE(line != std::string::npos);
  CHECK(outcome.err.find('\n', line) == outcome.err.size() - 1);
  CHECK(contains(outcome.err.substr(line), "checkpoint.safetensors"));
  for (const std::string& file : files_in(run)) {
    CAPTURE(file);
    CHECK(!file.ends_with(".partial"));
    CHECK(!file.ends_with(".safetensors"));
  }
}

}  // namespace

TEST_CASE("a limit on the size of files ends training with an error, and it can go on") {
  const TemporaryFolder folder;
  make_data(folder / "data", 5, 16);
  const fs::path run = folder / "run";
  check_out_of_space(run_program(fmt::format("train --data '{}' --out '{}' {}",
                                             (folder / "data").string(), run.string(), quick),
                                 "ulimit -f 100; "),
                     run);
  const Outcome resumed = run_program(fmt::format("train --out '{}' --resume", run.string()));
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
}

TEST_CASE("a full disk ends training with an error, and it can go on when there is room") {
  const TemporaryFolder folder;
  const fs::path disk = folder / "disk", run = disk / "run";
  fs::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=512k") != 0) {
    MESSAGE("skipped: only root may mount a small disk");
    return;
  }
  make_data(folder / "data", 5, 16);
  check_out_of_space(run_program(fmt::format("train --data '{}' --out '{}' {}",
                                             (folder / "data").string(), run.string(), quick)),
                     run);
  CHECK(::mount("tmpfs", disk.c_str(), "tmpfs", MS_REMOUNT, "size=64m") == 0);
  const Outcome resumed = run_program(fmt::format("train --out '{}' --resume", run.string()));
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
  CHECK(::umount(disk.c_str()) == 0);
}
