// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

namespace anaphase::kernels {

/// y = x / (1 - rate) where the element is kept, else 0. Element i of a sample is kept when
/// uniform(lane i % 4 of block i / 4 of the sample's draw) >= rate (kernels/common/philox.hpp), so
/// the backward pass is this same operation applied to dy. x, y [n, per_sample]; y may be x itself.
/// 0 <= rate < 1.
struct Dropout {
  int n = 1;
  std::int64_t per_sample = 0;
  DType type = DType::f32;
  float rate = 0;
  const std::uint64_t* keys = nullptr;
  std::uint32_t draw = 0;
  const void* x = nullptr;
  void* y = nullptr;
};

void run(Reference, const Dropout& op);
void run(Cpu, const Dropout& op);
void run(Cuda, const Dropout& op);
void run(Simt, const Dropout& op);

}  // namespace anaphase::kernels
