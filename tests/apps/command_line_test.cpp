// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <string>

#include "kernels/common/version.hpp"
#include "tests/apps/command.hpp"

using namespace anaphase::apps::testing;

namespace {

void check_usage_error(const std::string& arguments, const std::string& part) {
  const Outcome outcome = run_program(arguments);
  CAPTURE(arguments);
  CAPTURE(outcome.err);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.starts_with("anaphase: "));
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  CHECK(contains(outcome.err, part));
}

}  // namespace

TEST_CASE("mistakes on the command line are answered with the nearest name") {
  check_usage_error("trian --data x", "'train'");
  check_usage_error("train --dta x --out y", "'--data'");
  check_usage_error("train --epoch=3 --out y", "'--epochs'");
  check_usage_error("segment --model m --in i --out o --step 3", "'--steps'");
  check_usage_error("--versoin", "'--version'");
  check_usage_error("evaluate extra --model m --data d", "'extra'");
  check_usage_error("train --out y", "--data");
  check_usage_error("train --data y", "--out");
  check_usage_error("segment --model m --out o --in i --with nobody", "students");
  check_usage_error("train --out y --data d --set rounds.count", "key=value");
}

TEST_CASE("help and version") {
  const Outcome bare = run_program("");
  CHECK(bare.code == 2);
  CHECK(contains(bare.out, "Usage: anaphase"));
  CHECK(run_program("--version").out == fmt::format("anaphase {}\n", anaphase::version));
  for (const char* command :
       {"", "train", "segment", "evaluate", "report", "synth", "slices", "info", "bench",
        "bench sampling", "bench training", "bench latency", "bench kernels"}) {
    const Outcome help = run_program(fmt::format("{} --help", command));
    CAPTURE(command);
    CHECK(help.code == 0);
    CHECK(help.err.empty());
    CHECK(contains(help.out, fmt::format("Usage: anaphase{}{}", *command ? " " : "", command)));
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 100);
  }
}

TEST_CASE("info says what the program is and what a preset needs") {
  const Outcome info = run_program("info");
  CHECK(info.code == 0);
  CHECK(contains(info.out, anaphase::version));
  CHECK(contains(info.out, "oneDNN"));
  CHECK(!contains(info.out, "co-training step"));
  const Outcome plan = run_program("info --preset tiny --size 32 --batch 2 --set rounds.count=1");
  CHECK_MESSAGE(plan.code == 0, plan.err);
  CHECK(contains(plan.out, "32 x 32 pixels, batch 2"));
  // Calls, buffers, MiB of the plan, MiB of the sum.
  const std::size_t line = plan.out.find("co-training step");
  REQUIRE(line != std::string::npos);
  std::istringstream numbers(plan.out.substr(line + std::string("co-training step").size()));
  double calls = 0, buffers = 0, peak = 0, sum = 0, work = 0, share = 0;
  numbers >> calls >> buffers >> peak >> sum >> work >> share;
  CHECK(calls > 0);
  CHECK(buffers > 0);
  CHECK(peak > 0);
  CHECK(peak < sum);
  CHECK(work > 0);
  CHECK(share >= 90);
  CHECK(share <= 100);
}
