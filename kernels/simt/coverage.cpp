// SPDX-License-Identifier: Apache-2.0
#include "kernels/simt/coverage.hpp"

#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>
#include <string>

namespace anaphase::simt {
namespace {

class KernelsThatRan {
 public:
  void add(std::string_view name) {
    const std::lock_guard lock(mutex_);
    if (names_.contains(name)) return;
    names_.emplace(name);
  }
  ~KernelsThatRan() {
    const char* path = std::getenv("ANAPHASE_SIMT_COVERAGE");
    if (!path) return;
    std::ofstream file(path);
    for (const std::string& name : names_) file << name << '\n';
  }

 private:
  std::mutex mutex_;
  std::set<std::string, std::less<>> names_;
};

}  // namespace

void note_kernel(std::string_view name) {
  static KernelsThatRan kernels;
  kernels.add(name);
}

}  // namespace anaphase::simt
