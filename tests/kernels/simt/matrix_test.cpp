// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/common/types.hpp"
#include "tests/kernels/simt/device_array.hpp"
#include "tests/kernels/simt/kernels.hpp"

using namespace anaphase;
using test::DeviceArray;

namespace {

/// D [16, 8] + A [16, k] B [k, 8] in double precision.
std::vector<double> product(int k, const std::vector<float>& a, const std::vector<float>& b,
                            const std::vector<float>& d) {
  std::vector<double> sums(d.begin(), d.end());
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int l = 0; l < k; ++l)
        sums[8 * i + j] += static_cast<double>(a[k * i + l]) * static_cast<double>(b[8 * l + j]);
  return sums;
}

/// Values that tell all places apart and are exact in bf16 and tf32: 7 bits.
std::vector<float> distinct_values(int count, int factor) {
  std::vector<float> values(count);
  for (int i = 0; i < count; ++i) values[i] = static_cast<float>(i * factor % 251 - 125) / 64;
  return values;
}

std::vector<std::uint16_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint16_t> bits;
  for (const float value : values) bits.push_back(kernels::bf16(value).bits);
  return bits;
}

/// Sums of at most 17 numbers that are multiples of 2^-12 below 2^7 are exact in float.
void check_equal(const std::vector<float>& values, const std::vector<double>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK(static_cast<double>(values[i]) == expected[i]);
  }
}

}  // namespace

TEST_CASE("mma m16n8k16 of bf16, fragments gathered as the PTX ISA says or by ldmatrix") {
  for (const auto multiply : {test::multiply_bf16, test::multiply_by_ldmatrix}) {
    const auto a = distinct_values(256, 37), b = distinct_values(128, 53),
               d = distinct_values(128, 11);
    const DeviceArray<float> sums(d);
    multiply(DeviceArray(bits_of(a)).data(), DeviceArray(bits_of(b)).data(), sums.data());
    check_equal(sums.values(), product(16, a, b, d));
  }
}

TEST_CASE("mma m16n8k8 of tf32 reads 10 bits of mantissa") {
  auto a = distinct_values(128, 37);
  const auto b = distinct_values(64, 53), d = distinct_values(128, 11);
  const auto expected = product(8, a, b, d);
  const DeviceArray<float> sums(d);
  for (float& value : a) value *= 1 + 0x1p-13F;  // below the bits that count
  test::multiply_tf32(DeviceArray(a).data(), DeviceArray(b).data(), sums.data());
  check_equal(sums.values(), expected);
}

TEST_CASE("ldmatrix deals out rows, or columns when transposed") {
  for (const int count : {2, 4})
    for (const bool transposed : {false, true}) {
      std::vector<std::uint16_t> matrices(64 * count);
      for (int i = 0; i < 64 * count; ++i) matrices[i] = static_cast<std::uint16_t>(1000 + i);
      const DeviceArray<std::uint32_t> out(4 * 32);
      test::load_matrices(count, transposed, DeviceArray(matrices).data(), out.data());
      for (int lane = 0; lane < 32; ++lane)
        for (int m = 0; m < count; ++m) {
          const auto element = [&](int row, int column) {
            return static_cast<std::uint32_t>(
                matrices[64 * m + (transposed ? 8 * column + row : 8 * row + column)]);
          };
          const int row = lane / 4, column = lane % 4 * 2;
          CHECK(out.values()[4 * lane + m] ==
                (element(row, column) | element(row, column + 1) << 16));
        }
    }
}
