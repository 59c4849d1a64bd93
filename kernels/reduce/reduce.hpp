// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// y (one value, param type) = scale * sum of x [count].
struct Sum {
  std::int64_t count = 0;
  DType type = DType::f32;
  double scale = 1;
  const void* x = nullptr;
  void* y = nullptr;
  void* workspace = nullptr;
};

void run(Reference, const Sum& op);
void run(Cpu, const Sum& op);
std::size_t workspace_bytes(Cpu, const Sum& op);

void run(Cuda, const Sum& op);
std::size_t workspace_bytes(Cuda, const Sum& op);

void run(Simt, const Sum& op);
std::size_t workspace_bytes(Simt, const Sum& op);

}  // namespace anaphase::kernels
