// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sum over kernel taps and channels as it is written in the contract, on weights that were
// packed before: for programs that keep their weights. It calls no library and allocates nothing,
// and a pixel's bits depend on neither the batch nor the number of threads.

#include "kernels/conv/conv.hpp"

namespace anaphase::kernels::direct {

inline constexpr const char* name = "direct:packed";

/// Whether this build computes the operation: 2-D, in float32 and, where the processor multiplies
/// bf16 (AVX512_BF16), in that.
bool fits(const ConvForward& op);

/// Bytes of the weights in the order that `run` reads them.
std::size_t packed_bytes(const ConvForward& op);
void pack(const ConvForward& op, void* packed);

/// The contract's operation, from op.packed.
void run(const ConvForward& op);
std::size_t workspace_bytes(const ConvForward& op);

}  // namespace anaphase::kernels::direct
