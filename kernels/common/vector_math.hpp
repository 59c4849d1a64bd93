// SPDX-License-Identifier: Apache-2.0
#pragma once

// Elementary functions in float for the inner loops of the CPU kernels: no branches, no calls and
// no tables, so that a loop around them becomes vector instructions. The polynomials are minimax
// fits (Remez exchange); the errors stated are of the results, in units in the last place (ulp),
// and are what the tests hold them to.

#include <bit>
#include <cstdint>

#include "kernels/common/types.hpp"

namespace anaphase::kernels {

/// to = value, rounded to the type. A loop that assigns whole bf16 objects does not vectorise; one
/// that assigns their bits does.
inline void store(float& to, float value) {
  to = value;
}
inline void store(bf16& to, float value) {
  to.bits = bf16(value).bits;
}

namespace detail {

/// x = n ln 2 + r with |r| <= ln 2 / 2: returns e^r and leaves n. Adding 1.5 * 2^23 rounds to an
/// integer, which then stands in the low bits of the sum. |x| < 2^15.
inline float exp_reduced(float x, std::int32_t& n) {
  constexpr float round_to_integer = 0x1.8p23F;
  constexpr float log2_e = 0x1.715476p0F;
  constexpr float ln2_high = 0x1.63p-1F, ln2_low = -0x1.bd0106p-13F;  // n * ln2_high is exact
  const float shifted = x * log2_e + round_to_integer;
  n = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(round_to_integer);
  const float whole = shifted - round_to_integer;
  const float r = (x - whole * ln2_high) - whole * ln2_low;
  float p = 0x1.6a2832p-10F;
  p = p * r + 0x1.12393ep-7F;
  p = p * r + 0x1.5558e6p-5F;
  p = p * r + 0x1.555492p-3F;
  p = p * r + 0x1.fffffcp-2F;
  return (p * (r * r) + r) + 1.0F;
}

/// 2^n for n in [-126, 127].
inline float power_of_two(std::int32_t n) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(n + 127) << 23);
}

/// x limited to [low, high]; NaN stays NaN.
inline float clamped(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

}  // namespace detail

/// e^x within 2 ulp for every x: infinity above the largest float, gradually 0 below the smallest,
/// NaN for NaN.
inline float fast_exp(float x) {
  std::int32_t n;
  const float mantissa = detail::exp_reduced(detail::clamped(x, -104.0F, 89.0F), n);
  const std::int32_t half = n >> 1;  // 2^n itself may leave the range of normal numbers
  return mantissa * detail::power_of_two(half) * detail::power_of_two(n - half);
}

/// 1 / (1 + e^-x) within 4 ulp for x >= -87; below that it stays at sigmoid(-87) = 1.6e-38. NaN
/// for NaN.
inline float sigmoid(float x) {
  std::int32_t n;
  const float mantissa = detail::exp_reduced(detail::clamped(-x, -87.0F, 87.0F), n);
  return 1.0F / (1.0F + mantissa * detail::power_of_two(n));
}

/// log(1 + x) within 4 ulp for 0 <= x < 2^100. NaN for NaN.
inline float fast_log1p(float x) {
  // 1 + x = 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); what the sum 1 + x lost in rounding,
  // x - (u - 1), comes back divided by u.
  const float u = 1.0F + x;
  const float lost = u > 2.0F ? 1.0F - (u - x) : x - (u - 1.0F);
  constexpr std::int32_t sqrt_half = 0x3f3504f3;
  const std::int32_t bits = std::bit_cast<std::int32_t>(u) - sqrt_half;
  const auto n = static_cast<float>(bits >> 23);
  const float f = std::bit_cast<float>((bits & 0x007fffff) + sqrt_half) - 1.0F;
  float p = -0x1.422b26p-4F;
  p = p * f + 0x1.07c40ap-3F;
  p = p * f + -0x1.0cce56p-3F;
  p = p * f + 0x1.226f7ep-3F;
  p = p * f + -0x1.547abap-3F;
  p = p * f + 0x1.99a592p-3F;
  p = p * f + -0x1.000216p-2F;
  p = p * f + 0x1.55554ap-2F;
  const float square = f * f;
  constexpr float ln2_high = 0x1.63p-1F, ln2_low = -0x1.bd0106p-13F;
  const float small = (n * ln2_low + lost / u) + square * (f * p - 0.5F);
  return (n * ln2_high + f) + small;
}

/// The normal distribution: density e^(-x^2/2) / sqrt(2 pi) and distribution function Phi(x).
struct Normal {
  float density, distribution;
};

/// Both within 2^-22, absolutely, for every x: Phi(-|x|) = e^(-x^2/2) M(|x|) with a polynomial in
/// 4 / (4 + |x|) for M. NaN for NaN.
inline Normal normal(float x) {
  const float u = detail::clamped(x < 0 ? -x : x, 0.0F, 15.0F);
  const float bell = fast_exp(-0.5F * (u * u));
  const float t = 4.0F / (4.0F + u);
  float m = 0x1.09fd18p-6F;
  m = m * t + -0x1.f28d46p-5F;
  m = m * t + 0x1.808f8ep-5F;
  m = m * t + 0x1.1e6a4cp-5F;
  m = m * t + 0x1.cdc5d6p-8F;
  m = m * t + 0x1.7001dcp-4F;
  m = m * t + 0x1.2226e6p-4F;
  m = m * t + 0x1.884ffep-4F;
  m = m * t + 0x1.97620ep-4F;
  m = m * t + 0x1.989336p-4F;
  const float tail = bell * (m * t);
  return {bell * 0x1.988454p-2F, x < 0 ? tail : 1.0F - tail};
}

}  // namespace anaphase::kernels
