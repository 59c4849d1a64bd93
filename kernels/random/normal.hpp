// SPDX-License-Identifier: Apache-2.0
#pragma once

// Four normal numbers from a block of random bits, as kernels/random/random.hpp defines them, in
// single precision and without branches: the same code runs in a CUDA thread and, over an array of
// blocks, in the lanes of a vector register. Largest error against the exact formula: 2e-6.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/common/philox.hpp"

namespace anaphase::kernels {

/// The natural logarithm of a normal float x > 0, to about one ulp also next to 1.
ANAPHASE_HOST_DEVICE inline float log_of_uniform(float x) {
  std::int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const std::int32_t exponent = (bits - 0x3f3504f3) >> 23;  // x = 2^exponent * m, m in [1/2, 2]^0.5
  bits -= exponent << 23;
  float m;
  std::memcpy(&m, &bits, sizeof m);
  const float f = m - 1;  // exact
  // (ln(1 + f) - f + f^2 / 2) / f^3, a Chebyshev fit
  float p = -0.0790274377F;
  p = p * f + 0.126223199F;
  p = p * f - 0.129981838F;
  p = p * f + 0.142144959F;
  p = p * f - 0.166412815F;
  p = p * f + 0.200010451F;
  p = p * f - 0.250003064F;
  p = p * f + 0.333333307F;
  const float fraction = f + f * f * (f * p - 0.5F);
  return fraction + static_cast<float>(exponent) * 0.693147181F;
}

struct SineCosine {
  float sine, cosine;
};

/// sin(2 pi v) and cos(2 pi v) for v in [0, 1], to 1e-7.
ANAPHASE_HOST_DEVICE inline SineCosine sine_cosine_of_turn(float v) {
  const std::int32_t quarter = (static_cast<std::int32_t>(v * 8) + 1) >> 1;  // 4 v, rounded
  const float f = v - static_cast<float>(quarter) * 0.25F;  // exact, in [-1/8, 1/8]
  const float z = f * f;
  // Chebyshev fits of sin(2 pi f) / f and cos(2 pi f) in f^2
  const float s = f * (((-75.4016127F * z + 81.5925429F) * z - 41.3416626F) * z + 6.28318529F);
  const float c =
      (((59.2201690F * z - 85.4428446F) * z + 64.9393161F) * z - 19.7392087F) * z + 1.0F;
  const bool swapped = (quarter & 1) != 0;
  const float sine = swapped ? c : s, cosine = swapped ? s : c;
  return {(quarter & 2) != 0 ? -sine : sine, ((quarter + 1) & 2) != 0 ? -cosine : cosine};
}

/// The four normal numbers of a block: two pairs by Box and Muller.
ANAPHASE_HOST_DEVICE inline void normals_of_block(const PhiloxBlock& block, float z[4]) {
  for (int pair = 0; pair < 2; ++pair) {
    const float u = uniform_from_bits(block.lane[2 * pair]);
    const float v = uniform_from_bits(block.lane[2 * pair + 1]);
    const float r = std::sqrt(-2 * log_of_uniform(u));
    const SineCosine turn = sine_cosine_of_turn(v);
    z[2 * pair] = r * turn.cosine;
    z[2 * pair + 1] = r * turn.sine;
  }
}

}  // namespace anaphase::kernels
