// SPDX-License-Identifier: Apache-2.0
#pragma once

// One register of floats, as wide as the build's processor has them. What one operation does to all
// lanes is written with the compiler's vector types, so that there is one source for all widths.

#include <cstdint>

#include "kernels/common/types.hpp"

namespace anaphase::kernels {

#ifdef __AVX512F__
inline constexpr int lanes = 16;
#elif defined(__AVX__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif

using Vector [[gnu::vector_size(lanes * sizeof(float))]] = float;

namespace detail {
/// A Vector at any address that holds floats. (A type of its own: clang takes variables of it for
/// aligned.)
using Floats [[gnu::vector_size(lanes * sizeof(float)), gnu::aligned(4), gnu::may_alias]] = float;
}  // namespace detail

inline Vector load(const float* from) {
  return *reinterpret_cast<const detail::Floats*>(from);
}
inline void store(float* to, const Vector& value) {
  *reinterpret_cast<detail::Floats*>(to) = value;
}

// The same for bf16 in memory, rounded as bf16(float) does.
namespace detail {
using Halves [[gnu::vector_size(lanes * sizeof(bf16)), gnu::aligned(2), gnu::may_alias]] =
    std::uint16_t;
using Words [[gnu::vector_size(lanes * sizeof(float))]] = std::uint32_t;
}  // namespace detail

inline Vector load(const bf16* from) {
  using namespace detail;
  const Halves upper = *reinterpret_cast<const Halves*>(from);
  return (Vector)(__builtin_convertvector(upper, Words) << 16);
}
inline void store(bf16* to, const Vector& value) {
  using namespace detail;
  const Words u = (Words)value;
  const Words rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  const Words upper = (u & 0x7fffffff) > 0x7f800000 ? (u >> 16) | 0x40 : rounded;  // NaN stays NaN
  *reinterpret_cast<Halves*>(to) = __builtin_convertvector(upper, Halves);
}

}  // namespace anaphase::kernels
