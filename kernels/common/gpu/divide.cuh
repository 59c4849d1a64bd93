// SPDX-License-Identifier: Apache-2.0
#pragma once

// Division of indices by sizes that are known when a kernel is launched: a multiplication and a
// shift in place of the twenty instructions of a division (Granlund and Montgomery, "Division by
// invariant integers using multiplication", 1994).

#include <bit>

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// A divisor, at least 1, of numbers from 0 to 2^31 - 1.
class Divisor {
 public:
  explicit Divisor(int value)
      : value_(value), shift_(std::bit_width(static_cast<unsigned>(value) - 1)) {
    const std::uint64_t above = (std::uint64_t{1} << shift_) - static_cast<unsigned>(value);
    multiplier_ = static_cast<unsigned>((above << 32) / static_cast<unsigned>(value) + 1);
  }

  __device__ int quotient(int n) const {
    const auto u = static_cast<unsigned>(n);
    return static_cast<int>((__umulhi(u, multiplier_) + u) >> shift_);
  }
  /// Leaves n / value in n and returns n % value.
  __device__ int split_off(int& n) const {
    const int q = quotient(n), remainder = n - q * value_;
    n = q;
    return remainder;
  }

 private:
  int value_, shift_;
  unsigned multiplier_;
};

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
