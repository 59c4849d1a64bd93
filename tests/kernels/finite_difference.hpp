// SPDX-License-Identifier: Apache-2.0
#pragma once

// Gradients of the reference device against central differences of its forward pass, in double.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace anaphase::test {

/// Checks every element of `gradient` against (f(x + h e_i) - f(x - h e_i)) / 2h. The difference
/// quotient itself is off by h^2 f''' / 6, about 1e-10, and by the rounding of f over h, about
/// 1e-11 for values near 1; the tolerance, relative to the largest difference quotient, leaves room
/// for both. f: std::vector<double> -> double.
template <class F>
void check_gradient(const F& f, std::vector<double> x, const std::vector<double>& gradient,
                    double h = 1e-5, double tolerance = 1e-7) {
  REQUIRE(x.size() == gradient.size());
  std::vector<double> quotient(x.size());
  double scale = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double center = x[i];
    x[i] = center + h;
    const double above = f(x);
    x[i] = center - h;
    const double below = f(x);
    x[i] = center;
    quotient[i] = (above - below) / (2 * h);
    scale = std::max(scale, std::abs(quotient[i]));
  }
  REQUIRE_MESSAGE(scale > 0, "the function depends on none of its arguments");
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(i);
    CAPTURE(gradient[i]);
    CAPTURE(quotient[i]);
    CHECK(std::abs(gradient[i] - quotient[i]) <= tolerance * scale);
  }
}

/// The sum of a_i b_i: turns an operation with many outputs into a function with one.
inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace anaphase::test
