// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/launch.hpp"

// Numbers are drawn per sample from keys [n] (uint64) as kernels/common/philox.hpp defines: a
// sample's noise depends on its key, the draw and the element's position in the sample, on nothing
// else. Normal numbers come in pairs by Box and Muller from lanes (0, 1) and (2, 3) of a block, u =
// uniform(lane 0), v = uniform(lane 1):
//   r = sqrt(-2 ln u);  element 0 = r cos(2 pi v), element 1 = r sin(2 pi v)
// in single precision on every device (the reference evaluates the same formula in double).

namespace anaphase::kernels {

/// y [n, per_sample] ~ N(0, 1)
struct RandomNormal {
  int n = 1;
  std::int64_t per_sample = 0;
  DType type = DType::f32;
  const std::uint64_t* keys = nullptr;
  std::uint32_t draw = 0;
  void* y = nullptr;
};

/// t [n] (int32), uniform in [low, high): lane 0 of block 0 of each sample's draw.
struct RandomInteger {
  int n = 1;
  std::int32_t low = 0, high = 1;
  const std::uint64_t* keys = nullptr;
  std::uint32_t draw = 0;
  std::int32_t* t = nullptr;
};

void run(Reference, const RandomNormal& op);
void run(Reference, const RandomInteger& op);

void run(Cpu, const RandomNormal& op);
void run(Cpu, const RandomInteger& op);

void run(Cuda, const RandomNormal& op);
void run(Cuda, const RandomInteger& op);

void run(Simt, const RandomNormal& op);
void run(Simt, const RandomInteger& op);

}  // namespace anaphase::kernels
