// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "engine/tensor.hpp"

namespace anaphase::apps::bench {

/// What a device reached in this process, in one precision; programs are measured by it.
struct Ceilings {
  double flops_per_second = 0;  // of the product of two matrices of 2048 x 2048
  double bytes_per_second = 0;  // of y = a + 2 b, 3 x 128 MiB
};

/// The best of several attempts. Nothing for the executor of CUDA kernels on the processor, whose
/// speed says nothing.
std::optional<Ceilings> measure_ceilings(const engine::Device& device, engine::DType type);

}  // namespace anaphase::apps::bench
