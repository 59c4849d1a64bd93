// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/conv/conv.hpp"

namespace anaphase::test {

inline std::int64_t taps(const kernels::ConvShape& s) {
  return std::int64_t{s.kernel_d} * s.kernel_h * s.kernel_w;
}

// Elements of a convolution's tensors.

inline std::int64_t count_x(const kernels::ConvShape& s) {
  return std::int64_t{s.n} * s.d * s.h * s.w * s.c_in;
}

inline std::int64_t count_y(const kernels::ConvShape& s) {
  return std::int64_t{s.n} * s.out_d() * s.out_h() * s.out_w() * s.c_out;
}

inline std::int64_t count_weight(const kernels::ConvShape& s) {
  return taps(s) * s.c_out * s.c_in;
}

}  // namespace anaphase::test
