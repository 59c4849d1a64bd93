// SPDX-License-Identifier: Apache-2.0
#pragma once

// The matrix instructions of a warp, for the wrappers of kernels/common/gpu/matrix.cuh, which
// documents the layout of the fragments.

#include <cstdint>

#include "kernels/simt/executor.hpp"

namespace anaphase::simt {

void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              Location where);
void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              Location where);
/// The rows of 16 bytes that the first 8 * count lanes point to, dealt out as ldmatrix does.
void load_matrices(std::uint32_t* registers, int count, const void* row, bool is_transposed,
                   Location where);

}  // namespace anaphase::simt
