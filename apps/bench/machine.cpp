// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/machine.hpp"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "kernels/common/error.hpp"

namespace anaphase::apps::bench {
namespace {

std::string text_of(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// What follows `name` and a colon in a file of such lines; empty where there is none.
std::string field(const char* path, const std::string& name) {
  std::istringstream lines(text_of(path));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    const std::size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
    return value == line.npos ? "" : line.substr(value);
  }
  return "";
}

}  // namespace

std::string processor_name() {
  const std::string name = field("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown" : name;
}

std::string command_line() {
  std::string line;
  std::istringstream words(text_of("/proc/self/cmdline"));
  for (std::string word; std::getline(words, word, '\0');) {
    const bool is_plain = !word.empty() && word.find_first_of(" '\"\\$*?;&|<>()") == word.npos;
    if (!line.empty()) line += ' ';
    line += is_plain ? word : fmt::format("'{}'", word);
  }
  return line;
}

std::size_t peak_resident_bytes() {
  const std::string text = field("/proc/self/status", "VmHWM");
  if (text.empty())
    throw Error("/proc/self/status says nothing of memory: measure where /proc is mounted");
  return std::stoull(text) * 1024;  // "1234 kB"
}

double process_age_seconds() {
  // The second field, the program's name in brackets, may hold anything; the 22nd is the start.
  const std::string text = text_of("/proc/self/stat");
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string start;
  for (int i = 3; i <= 22; ++i) fields >> start;
  if (start.empty())
    throw Error("/proc/self/stat says nothing of the start: measure where /proc is mounted");
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) -
         std::stod(start) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace anaphase::apps::bench
