// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "kernels/common/host_device.hpp"

namespace anaphase::kernels {

/// Element types of tensors. `f32` is the reference precision of the engine, `bf16` its fast
/// storage (all sums still run in float), `f64` belongs to the reference device alone.
enum class DType : std::uint8_t { f32, bf16, f64, i32, u64 };

constexpr std::size_t size_of(DType type) {
  switch (type) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::f64:
    case DType::u64:
      return 8;
  }
  return 0;
}

constexpr std::string_view name_of(DType type) {
  constexpr std::string_view names[] = {"f32", "bf16", "f64", "i32", "u64"};
  return names[static_cast<int>(type)];
}

/// The type of parameters, statistics and losses that go with activations of `type`: bf16 keeps its
/// masters in float.
constexpr DType param_type(DType type) {
  return type == DType::f64 ? DType::f64 : DType::f32;
}

/// The upper half of a float, rounded to nearest even; NaN stays NaN.
struct bf16 {
  std::uint16_t bits;

  bf16() = default;
  ANAPHASE_HOST_DEVICE explicit bf16(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const auto u = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : rounded);
#endif
  }
  ANAPHASE_HOST_DEVICE operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// C++ type -> DType, and the C++ types of parameters and of arithmetic that go with it.
template <class T>
inline constexpr DType dtype_of = [] {
  if constexpr (std::is_same_v<T, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<T, bf16>)
    return DType::bf16;
  else if constexpr (std::is_same_v<T, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return DType::i32;
  else {
    static_assert(std::is_same_v<T, std::uint64_t>, "no DType for this type");
    return DType::u64;
  }
}();

/// Parameters of T, and the type its arithmetic is done in: double for double, float otherwise.
template <class T>
using Param = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Activations that a producing kernel can apply on its way to memory.
///   relu        max(x, 0)
///   leaky_relu  x for x > 0, else slope * x
///   silu        x * sigmoid(x)
///   gelu        x * Phi(x), Phi the normal distribution function (erf form)
enum class Activation : std::uint8_t { none, relu, leaky_relu, silu, gelu };

}  // namespace anaphase::kernels
