// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.hpp"

#include <cmath>
#include <numbers>

#include "kernels/common/philox.hpp"
#include "kernels/random/normal_ref.hpp"

namespace anaphase::kernels {

double reference_normal(std::uint64_t key, std::uint32_t draw, std::int64_t i) {
  const PhiloxBlock block = philox(key, static_cast<std::uint64_t>(i / 4), draw);
  const std::int64_t pair = i % 4 / 2;
  const double u = uniform_from_bits(block.lane[2 * pair]);
  const double v = uniform_from_bits(block.lane[2 * pair + 1]);
  const double r = std::sqrt(-2 * std::log(u)), angle = 2 * std::numbers::pi * v;
  return i % 2 == 0 ? r * std::cos(angle) : r * std::sin(angle);
}

void run(Reference, const RandomNormal& op) {
  auto* y = static_cast<double*>(op.y);
  for (int s = 0; s < op.n; ++s)
    for (std::int64_t i = 0; i < op.per_sample; ++i)
      y[s * op.per_sample + i] = reference_normal(op.keys[s], op.draw, i);
}

void run(Reference, const RandomInteger& op) {
  for (int s = 0; s < op.n; ++s)
    op.t[s] = integer_from_bits(philox(op.keys[s], 0, op.draw).lane[0], op.low, op.high);
}

}  // namespace anaphase::kernels
