// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <fstream>
#include <set>
#include <string>

#include "kernels/common/error.hpp"
#include "kernels/simt/executor.hpp"
#include "tests/kernels/simt/kernels.hpp"

using namespace anaphase;

namespace {

/// "faults.cu:12" of the line whose comment is `name`; empty if there is none.
std::string line_of(const std::string& name) {
  std::ifstream file(ANAPHASE_SOURCE_DIR "/tests/kernels/simt/faults.cu");
  std::string text;
  for (int line = 1; std::getline(file, text); ++line)
    if (text.ends_with("  // " + name)) return "faults.cu:" + std::to_string(line);
  return "";
}

/// Whether `text` is `pattern`, in which * stands for anything.
bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] != '*')
    return !text.empty() && text[0] == pattern[0] && matches(pattern.substr(1), text.substr(1));
  for (std::size_t skipped = 0; skipped <= text.size(); ++skipped)
    if (matches(pattern.substr(1), text.substr(skipped))) return true;
  return false;
}

std::string message_of(void (*run)()) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("every planted fault is found, and named with its kernel, block, thread and line") {
  simt::set_order_seed(0);
  for (const test::PlantedFault& fault : test::planted_faults()) {
    std::string sentence = fault.sentence;
    if (const std::size_t at = sentence.find('@'); at != std::string::npos)
      sentence.replace(at, 1, line_of(fault.name));
    const std::string message = message_of(fault.run);
    CAPTURE(sentence);
    CAPTURE(message);
    CHECK(matches(sentence, message));
  }
}

TEST_CASE("a fault is found in any order of turns, and the next launch is not disturbed") {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    simt::set_order_seed(seed);
    for (const test::PlantedFault& fault : test::planted_faults()) {
      CAPTURE(fault.name);
      CAPTURE(seed);
      CHECK(message_of(fault.run) != "no error");
      test::launch_empty(2, 64, 0);
    }
  }
  simt::set_order_seed(0);
}
