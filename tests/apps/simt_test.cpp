// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/apps/command.hpp"

using namespace anaphase::apps::testing;
using anaphase::io::testing::read_bytes;
namespace fs = std::filesystem;

// The whole method by the CUDA kernels' own source, some hundred times slower than on the CPU.
TEST_CASE("all stages, masks and scores on simt") {
  if (!contains(run_program("info").out, "\n  simt")) {
    MESSAGE("this build cannot run CUDA kernels on the processor");
    return;
  }
  const TemporaryFolder folder;
  const std::string data = (folder / "data").string(), run = (folder / "run").string();
  make_data(folder / "data", 5, 32);
  const Outcome trained = run_program(
      fmt::format("train --data '{}' --out '{}' --device simt --preset tiny --size 32 --labels 2 "
                  "--epochs 1 --pretrain-epochs 1 --set training.batch=2",
                  data, run));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  CHECK(contains(read_bytes(fs::path(run) / "manifest.json"), "\"device\": \"simt\""));
  CHECK(fs::file_size(fs::path(run) / "report.html") > 0);

  // A model does not depend on the device that made it, nor its scores on the one that uses it.
  const auto dice_on = [&](const char* device) -> double {
    const Outcome scored = run_program(
        fmt::format("evaluate --model '{}' --data '{}' --json - --device {}", run, data, device));
    REQUIRE_MESSAGE(scored.code == 0, scored.err);
    return nlohmann::json::parse(scored.out).at("dice");
  };
  const double dice = nlohmann::json::parse(read_bytes(fs::path(run) / "scores.json")).at("dice");
  CHECK(dice_on("simt") == dice);
  CHECK(dice_on("cpu") == doctest::Approx(dice).epsilon(0.02));
}
