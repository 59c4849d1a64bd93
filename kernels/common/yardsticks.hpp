// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace anaphase::kernels {

// NVIDIA's libraries behind the contracts of our operations, for tests and benchmarks to call in
// the place of `run`: those that this build has (CMake options ANAPHASE_CUDNN, ANAPHASE_CUBLAS and
// ANAPHASE_CUB, all off unless asked for). Functions of the others are declared but not there.
#if defined(ANAPHASE_WITH_CUDNN)
inline constexpr bool has_cudnn = true;
#else
inline constexpr bool has_cudnn = false;
#endif
#if defined(ANAPHASE_WITH_CUBLAS)
inline constexpr bool has_cublas = true;
#else
inline constexpr bool has_cublas = false;
#endif
#if defined(ANAPHASE_WITH_CUB)
inline constexpr bool has_cub = true;
#else
inline constexpr bool has_cub = false;
#endif

}  // namespace anaphase::kernels
