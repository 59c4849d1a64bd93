// SPDX-License-Identifier: Apache-2.0
#pragma once

// CUDA's mathematical and bit functions that the C library lacks. Approximate ones are computed as
// accurately as the host can: closer to the truth than a GPU's.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): CUDA's names.
using std::max;
using std::min;

inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}
inline float __fsqrt_rn(float x) {
  return std::sqrt(x);
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __frcp_rn(float a) {
  return 1.0F / a;
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float __sinf(float x) {
  return std::sin(x);
}
inline float __cosf(float x) {
  return std::cos(x);
}
inline void sincospi(double x, double* sine, double* cosine) {
  const double angle = std::numbers::pi * std::remainder(x, 2.0);
  *sine = std::sin(angle);
  *cosine = std::cos(angle);
}
inline float __saturatef(float x) {
  return x > 0 ? std::min(x, 1.0F) : 0.0F;
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1U) << (31 - i);
  return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((std::uint64_t{a} * b) >> 32);
}
template <class T>
T __ldg(const T* address) {
  return *address;
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
