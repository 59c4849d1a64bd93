// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/optimizer/optimizer.hpp"

namespace anaphase::kernels {

/// The yardstick: GradientNorm by CUB (cub::DeviceReduce) under the same contract, for benchmarks
/// to call in the place of `run`, in builds with ANAPHASE_CUB.
void gradient_norm_cub(Cuda, const GradientNorm& op);
std::size_t gradient_norm_cub_workspace_bytes(Cuda, const GradientNorm& op);

}  // namespace anaphase::kernels
