// SPDX-License-Identifier: Apache-2.0
#pragma once

// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
// counter-based generator. The same key and counter give the same numbers on every device and in
// any order.
//
// How this project numbers its randomness: every sample has a 64-bit key; every random operation of
// a program has a number, its `draw`; element i of a sample's draw comes from lane i % 4 of the
// block
//   philox(key, counter = {i / 4 (64 bits), draw (32 bits), 0}).

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/common/host_device.hpp"

namespace anaphase::kernels {

struct PhiloxBlock {
  std::uint32_t lane[4];
};

/// a * b in 64 bits.
ANAPHASE_HOST_DEVICE inline std::uint64_t wide_product(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  std::uint64_t product;  // left to itself, nvcc multiplies 64 bits, half of which are 0
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
#else
  return std::uint64_t{a} * b;
#endif
}

/// Ten rounds on a counter of 128 bits, its lowest word first.
ANAPHASE_HOST_DEVICE inline PhiloxBlock philox4x32(std::uint64_t key, std::uint32_t c0,
                                                   std::uint32_t c1, std::uint32_t c2,
                                                   std::uint32_t c3) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = wide_product(0xD2511F53U, c0), p1 = wide_product(0xCD9E8D57U, c2);
    const std::uint32_t hi0 = static_cast<std::uint32_t>(p0 >> 32),
                        hi1 = static_cast<std::uint32_t>(p1 >> 32);
    c0 = hi1 ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = hi0 ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return {{c0, c1, c2, c3}};
}

/// Block `block` of the numbers that `draw` takes from `key`.
ANAPHASE_HOST_DEVICE inline PhiloxBlock philox(std::uint64_t key, std::uint64_t block,
                                               std::uint32_t draw) {
  return philox4x32(key, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                    draw, 0);
}

/// 32 random bits -> (0, 1): (upper 23 bits + 1/2) / 2^23, exact in float and never 0 nor 1, so
/// that logarithms are finite.
ANAPHASE_HOST_DEVICE inline float uniform_from_bits(std::uint32_t bits) {
  // as the fraction of a number in [1, 2), without a conversion from an integer
  return std::bit_cast<float>(0x3f800000U | bits >> 9) - (1 - 0x1p-24F);
}

/// 32 random bits -> an integer in [low, high), by multiplication (bias below (high - low) / 2^32).
ANAPHASE_HOST_DEVICE inline std::int32_t integer_from_bits(std::uint32_t bits, std::int32_t low,
                                                           std::int32_t high) {
  const auto span = static_cast<std::uint64_t>(static_cast<std::int64_t>(high) - low);
  return static_cast<std::int32_t>(low + static_cast<std::int64_t>((span * bits) >> 32));
}

/// Host-side mixing of numbers into a key (the finaliser of SplitMix64): seeds, epochs and
/// positions become keys that have nothing visible in common.
constexpr std::uint64_t mix_key(std::uint64_t key, std::uint64_t value) {
  std::uint64_t z = key + 0x9E3779B97F4A7C15ULL * (value + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

/// A host-side stream of numbers from one key, for shuffles and initial weights.
class PhiloxStream {
 public:
  explicit PhiloxStream(std::uint64_t key, std::uint32_t draw = 0) : key_(key), draw_(draw) {}

  std::uint32_t bits() {
    if (used_ == 4) {
      block_ = philox(key_, next_++, draw_);
      used_ = 0;
    }
    return block_.lane[used_++];
  }
  float uniform() { return uniform_from_bits(bits()); }
  std::int32_t integer(std::int32_t low, std::int32_t high) {
    return integer_from_bits(bits(), low, high);
  }

 private:
  std::uint64_t key_, next_ = 0;
  std::uint32_t draw_;
  PhiloxBlock block_{};
  int used_ = 4;
};

}  // namespace anaphase::kernels
