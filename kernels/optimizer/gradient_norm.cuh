// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// Norm and scale, as kernels/optimizer/optimizer.hpp defines them, from the sum of all squares.
__device__ inline void write_norm(double squares, float limit, float* norm_out, float* scale_out) {
  const auto norm = static_cast<float>(sqrt(squares));
  float scale = limit > 0 && norm > 0 ? fminf(1, limit / norm) : 1;
  if (!std::isfinite(norm)) scale = 0;
  *norm_out = norm;
  *scale_out = scale;
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
