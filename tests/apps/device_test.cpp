// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "tests/apps/command.hpp"

using namespace anaphase::apps::testing;
namespace fs = std::filesystem;

TEST_CASE("info lists the devices, with the reason where CUDA cannot be used") {
  const Outcome info = run_program("info");
  CHECK(info.code == 0);
  CHECK(contains(info.out, "\n  cpu  "));
  CHECK(contains(info.out, "\n  cuda"));
}

TEST_CASE("a device that is unknown or not here is refused before a run is begun") {
  const TemporaryFolder folder;
  const std::string data = (folder / "data").string(), run = (folder / "run").string();
  make_data(folder / "data", 5, 16);
  const auto refused = [&](const std::string& device, const std::string& part) {
    check_one_line_error(run_program(fmt::format("train --data '{}' --out '{}' {} --device {}",
                                                 data, run, quick, device)),
                         part);
    CHECK(!fs::exists(run));
  };
  refused("gpu", "unknown device 'gpu': use auto, cpu, cuda, cuda:N or simt");
  refused("cuda:99", "no CUDA ");  // kernels, device or device 99
}

// A build with CUDA kernels has to work where there is no driver, and to say what it does.
TEST_CASE("without a CUDA device auto is the processor, with a note in builds that know CUDA") {
  const bool has_cuda = !contains(run_program("info").out, "this build has no CUDA kernels");
  const TemporaryFolder folder;
  make_data(folder / "data", 5, 16);
  const Outcome outcome =
      run_program(fmt::format("train --data '{}' --out '{}' {}", (folder / "data").string(),
                              (folder / "run").string(), quick),
                  "CUDA_VISIBLE_DEVICES= ");
  CHECK_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(contains(outcome.err, "anaphase: on the CPU: no CUDA device: ") == has_cuda);
}
