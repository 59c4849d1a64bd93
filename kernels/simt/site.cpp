// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/site.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

namespace anaphase::simt {
namespace {

std::string without_folders(std::string_view path) {
  return std::string(path.substr(path.find_last_of('/') + 1));
}

/// What addr2line finds in the debug information: the innermost line of a .cu file that was inlined
/// there, since a wrapper's own line says little.
std::string line_of_code(const void* return_address) {
  Dl_info file{};
  link_map* map = nullptr;
  if (!dladdr1(return_address, &file, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP)) return {};
  const auto call = reinterpret_cast<std::uintptr_t>(return_address) - 1 - map->l_addr;
  const std::string program = *map->l_name ? map->l_name : fmt::format("/proc/{}/exe", getpid());
  const std::string command = fmt::format("addr2line -i -e '{}' {:#x} 2>/dev/null", program, call);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> lines(popen(command.c_str(), "r"), pclose);
  if (!lines) return {};
  std::string first;
  char text[4096];
  while (std::fgets(text, sizeof text, lines.get())) {
    std::string_view line = text;
    line = line.substr(0, line.find_first_of(" \n"));
    if (line.empty() || line.find('?') != std::string_view::npos) continue;
    if (line.find(".cu:") != std::string_view::npos) return without_folders(line);
    if (first.empty()) first = without_folders(line);
  }
  return first;
}

}  // namespace

std::string to_text(const dim3& v) {
  return fmt::format("({}, {}, {})", v.x, v.y, v.z);
}

std::string to_text(const Site& where) {
  if (where.code) return line_of_code(where.code);
  if (where.line.line == 0) return {};
  return fmt::format("{}:{}", without_folders(where.line.file), where.line.line);
}

}  // namespace anaphase::simt
