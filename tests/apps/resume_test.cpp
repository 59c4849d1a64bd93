// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/apps/command.hpp"

using namespace anaphase::apps::testing;
using anaphase::io::testing::read_bytes;
namespace fs = std::filesystem;

namespace {

const std::string options = std::string(quick) + "--epochs 3 --pretrain-epochs 2";

std::string train(const fs::path& data, const fs::path& run) {
  return fmt::format("train --data {} --out {} {}", data.string(), run.string(), options);
}

std::string resume(const fs::path& run) {
  return fmt::format("train --out {} --resume", run.string());
}

/// Starts the program, waits for `lines` lines of metrics and ends it with a signal.
int interrupt(const std::string& arguments, const fs::path& run, int lines, int signal) {
  std::istringstream stream(arguments);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  Background program(words);
  CHECK(program.wait_for_lines(run / "metrics.jsonl", lines));
  return program.end_with(signal);
}

void check_done(const Outcome& outcome) {
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
}

}  // namespace

TEST_CASE("the same seed gives the same model, interrupted or not") {
  const TemporaryFolder folder;
  const fs::path data = folder / "data", whole = folder / "whole", run = folder / "run";
  make_data(data, 10, 16);
  check_done(run_program(train(data, whole)));
  const std::string expected = read_bytes(whole / "model.safetensors");
  REQUIRE(!expected.empty());

  SUBCASE("trained twice") {
    check_done(run_program(train(data, run)));
    CHECK(read_bytes(run / "model.safetensors") == expected);
    const Outcome other = run_program(train(data, folder / "other") + " --seed 1");
    check_done(other);
    CHECK(read_bytes(folder / "other/model.safetensors") != expected);
  }
  SUBCASE("killed in either stage") {
    CHECK(interrupt(train(data, run), run, 1, SIGKILL) == 128 + SIGKILL);
    CHECK(interrupt(resume(run), run, 7, SIGKILL) == 128 + SIGKILL);
    CHECK(!fs::exists(run / "model.safetensors"));
    check_done(run_program(resume(run)));
    CHECK(read_bytes(run / "model.safetensors") == expected);
  }
  SUBCASE("stopped by Ctrl-C") {
    CHECK(interrupt(train(data, run), run, 4, SIGINT) == 130);
    CHECK(fs::exists(run / "checkpoint.safetensors"));
    CHECK(!fs::exists(run / "model.safetensors"));
    check_done(run_program(resume(run)));
    CHECK(read_bytes(run / "model.safetensors") == expected);
  }
}

TEST_CASE("a run can be made longer, and nothing else of it changed") {
  const TemporaryFolder folder;
  const fs::path data = folder / "data", run = folder / "run";
  make_data(data, 5, 16);
  check_done(run_program(fmt::format("train --data '{}' --out '{}' {} --method supervised",
                                     data.string(), run.string(), quick)));
  check_done(run_program(resume(run) + " --epochs 2"));
  CHECK(contains(read_bytes(run / "config.toml"), "epochs = 2\n"));
  check_one_line_error(run_program(resume(run) + " --epochs 1"), "--epochs");
  const Outcome refused = run_program(resume(run) + " --size 32");
  CHECK(refused.code == 2);
  CHECK(contains(refused.err, "--size"));
  check_one_line_error(run_program(fmt::format("train --out {} --resume", data.string())), "data");
}
