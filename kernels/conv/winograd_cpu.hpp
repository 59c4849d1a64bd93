// SPDX-License-Identifier: Apache-2.0
#pragma once

// Convolution of 3x3 kernels with a quarter of the multiplications (Winograd's minimal filtering
// F(4x4, 3x3); Lavin and Gray, arXiv 1509.09308), in channels last, computed in float32 whatever
// the type in memory. For a tile d of 6x6 inputs, a kernel g and the 4x4 outputs y (per pair of
// channels, summed over those of d):
//   y = A^T [ (G g G^T) * (B^T d B) ] A
// The 36 products in brackets are matrix products over the channels of many tiles. Rounding errors
// are about twice those of the direct sum.

#include "kernels/conv/conv.hpp"

namespace anaphase::kernels::winograd {

inline constexpr const char* name = "winograd:4x4";

/// Whether the operation has the form this file computes (2-D, 3x3, stride 1, channels in multiples
/// of 16; weight gradients in float32) and a size at which that beats the direct sum.
bool pays(const ConvForward& op);
bool pays_packed(const ConvForward& op);  // with op.packed
bool pays(const ConvInputGradient& op);
bool pays(const ConvWeightGradient& op);

// The contract's operations of that form; bits depend on the sizes alone.
void run(const ConvForward& op);
void run(const ConvInputGradient& op);
void run(const ConvWeightGradient& op);
std::size_t workspace_bytes(const ConvForward& op);
std::size_t packed_bytes(const ConvForward& op);
void pack(const ConvForward& op, void* packed);
std::size_t workspace_bytes(const ConvInputGradient& op);
std::size_t workspace_bytes(const ConvWeightGradient& op);

}  // namespace anaphase::kernels::winograd
