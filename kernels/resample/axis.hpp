// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which positions of two grids look at each other, and with what weight, for the CPU and the GPU.

#include <algorithm>
#include <cstdint>

#include "kernels/common/host_device.hpp"
#include "kernels/resample/resample.hpp"

namespace anaphase::kernels {

template <class Int>
ANAPHASE_HOST_DEVICE Int clamped(Int value, Int low, Int high) {
  return value < low ? low : value > high ? high : value;
}

/// A divisor of numbers from 0 to 2^62 whose quotients are below 2^50: in double and exact after
/// one correction, because a GPU would call a function for a division of 64 bits.
struct WideDivisor {
  std::int64_t value;
  double inverse;

  explicit WideDivisor(std::int64_t divisor)
      : value(divisor), inverse(1 / static_cast<double>(divisor)) {}

  ANAPHASE_HOST_DEVICE std::int64_t quotient(std::int64_t n) const {
    const auto q = static_cast<std::int64_t>(static_cast<double>(n) * inverse);
    const std::int64_t rest = n - q * value;
    return rest < 0 ? q - 1 : rest >= value ? q + 1 : q;
  }
};

/// One or two neighbouring input positions and their weights.
struct Tap {
  std::int64_t index;
  int count;
  float weight[2];
};

/// The output positions [begin, end) that an input position has weight in. Distances between an
/// output's place in the input grid and the input position are counted in the axis's units.
struct Outputs {
  int begin, end;
  int distance, step;  // at `begin`, and from output to output
  int low, high;       // to which distances are clamped: 0 beyond an end of the input
  float inverse_unit;

  ANAPHASE_HOST_DEVICE float weight(int p) const {
    const int at = clamped(distance + (p - begin) * step, low, high);
    return 1 - static_cast<float>(at < 0 ? -at : at) * inverse_unit;
  }
};

/// One axis in exact integer arithmetic: output position p looks at (slope * p + offset) / unit.
/// Extents are below 2^29.
class Axis {
 public:
  Axis(ResampleMode mode, int in, int out) : Axis(in, out, places(mode, in, out)) {}

  ANAPHASE_HOST_DEVICE Tap tap(std::int64_t p) const {
    const std::int64_t position =
        clamped<std::int64_t>(slope_.value * p + offset_, 0, (in_ - 1) * unit_.value);
    const std::int64_t index = unit_.quotient(position), rest = position - index * unit_.value;
    if (!linear_ || rest == 0) return {index, 1, {1, 0}};
    const float second = static_cast<float>(rest) * inverse_unit_;
    return {index, 2, {1 - second, second}};
  }

  /// The output positions that input position i has weight in: those that look beyond i - 1 and
  /// short of i + 1.
  ANAPHASE_HOST_DEVICE Outputs outputs_of(std::int64_t i) const {
    const bool first = i == 0, last = i + 1 == in_;
    const std::int64_t unit = unit_.value, from = linear_ ? (i - 1) * unit + 1 : i * unit;
    const std::int64_t begin = first ? 0 : first_reaching(from);
    const std::int64_t end = last ? out_ : first_reaching((i + 1) * unit);
    return {.begin = static_cast<int>(begin),
            .end = static_cast<int>(end),
            .distance = static_cast<int>(slope_.value * begin + offset_ - i * unit),
            .step = static_cast<int>(slope_.value),
            .low = first ? 0 : -INT32_MAX,
            .high = last ? 0 : INT32_MAX,
            .inverse_unit = inverse_unit_};
  }

 private:
  struct Places {
    std::int64_t slope, offset, unit;
    bool linear;
  };
  static Places places(ResampleMode mode, std::int64_t in, std::int64_t out) {
    switch (mode) {
      case ResampleMode::nearest:
        return {in, 0, out, false};
      case ResampleMode::linear:
        return {2 * in, in - out, 2 * out, true};
      case ResampleMode::linear_aligned:
        break;
    }
    return {in - 1, 0, std::max<std::int64_t>(out - 1, 1), true};
  }
  Axis(int in, int out, const Places& p)
      : in_(in),
        out_(out),
        offset_(p.offset),
        slope_(p.slope),
        unit_(p.unit),
        inverse_unit_(p.linear ? 1 / static_cast<float>(p.unit) : 0),
        linear_(p.linear) {}

  /// The first output position that looks at `position` / unit or beyond.
  ANAPHASE_HOST_DEVICE std::int64_t first_reaching(std::int64_t position) const {
    const std::int64_t p = slope_.quotient(position - offset_ + slope_.value - 1);
    return clamped<std::int64_t>(p, 0, out_);
  }

  std::int64_t in_, out_, offset_;
  WideDivisor slope_, unit_;
  float inverse_unit_;  // 0 in mode nearest, which makes the weights of `Outputs` 1
  bool linear_;
};

struct Axes {
  Axis d, h, w;
  explicit Axes(const ResampleShape& s)
      : d(s.mode, s.d, s.out_d), h(s.mode, s.h, s.out_h), w(s.mode, s.w, s.out_w) {}
};

/// The input rows of an output row, up to two on each of the axes d and h, and their weights.
/// `Place` is a pointer, or the offset from one.
template <class Place>
struct Rows {
  int count;
  float weight[4];
  Place row[4];

  ANAPHASE_HOST_DEVICE static Rows at(Place origin) { return {1, {1}, {origin}}; }

  ANAPHASE_HOST_DEVICE void spread(const Tap& tap, std::int64_t stride) {
    for (int k = 0; k < count; ++k) {
      row[k] += tap.index * stride;
      if (tap.count == 1) continue;
      row[count + k] = row[k] + stride;
      weight[count + k] = weight[k] * tap.weight[1];
      weight[k] *= tap.weight[0];
    }
    count *= tap.count;
  }
};

}  // namespace anaphase::kernels
