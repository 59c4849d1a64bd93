// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace anaphase::kernels {

/// Element i of a draw, the formula of kernels/random/random.hpp in double precision.
double reference_normal(std::uint64_t key, std::uint32_t draw, std::int64_t i);

}  // namespace anaphase::kernels
