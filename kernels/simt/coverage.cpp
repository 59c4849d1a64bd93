// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/coverage.hpp"

#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <string>

#include "kernels/simt/executor.hpp"

namespace anaphase::simt {
namespace {

class Kernels {
 public:
  void add(std::string_view name, bool has_run) {
    const std::lock_guard lock(mutex_);
    const auto found = has_run_.find(name);
    if (found == has_run_.end())
      has_run_.emplace(name, has_run);
    else
      found->second |= has_run;
  }
  ~Kernels() {
    const char* path = std::getenv("ANAPHASE_SIMT_COVERAGE");
    if (!path) return;
    std::ofstream file(path);
    for (const auto& [name, has_run] : has_run_) file << (has_run ? '+' : '-') << name << '\n';
  }

 private:
  std::mutex mutex_;
  std::map<std::string, bool, std::less<>> has_run_;
};

Kernels& kernels() {
  static Kernels all;
  return all;
}

}  // namespace

void note_kernel(std::string_view name) {
  kernels().add(name, true);
}

std::string_view add_kernel(std::string_view name) {
  kernels().add(name, false);
  return name;
}

}  // namespace anaphase::simt
