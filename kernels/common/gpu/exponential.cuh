// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// 2^x within 2 ulp, in one instruction; 0 where that would be subnormal.
__device__ inline float fast_exp2(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
