// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/reduce/reduce.hpp"

namespace anaphase::kernels {

/// The yardstick: Sum by CUB (cub::DeviceReduce) under the same contract, for benchmarks to call in
/// the place of `run`, in builds with ANAPHASE_CUB.
void sum_cub(Cuda, const Sum& op);
std::size_t sum_cub_workspace_bytes(Cuda, const Sum& op);

}  // namespace anaphase::kernels
