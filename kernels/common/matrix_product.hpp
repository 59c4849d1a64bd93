// SPDX-License-Identifier: Apache-2.0
#pragma once

// The matrix product inside other kernels: small, in float, on one thread, its result a panel a few
// vectors wide that stays in registers while the sum runs.

#include <array>
#include <cstdint>
#include <utility>

#include "kernels/common/vector.hpp"

namespace anaphase::kernels {

/// Columns of b and c come in multiples of this.
inline constexpr int column_multiple = 16;

struct MatrixProduct {
  int m, n, k;     // c is m x n, n a multiple of column_multiple
  const float* a;  // a(i, l) = a[i * a_row + l * a_column]
  std::int64_t a_row, a_column;
  const float* b;  // b(l, j) = b[l * b_row + j]
  std::int64_t b_row;
  float* c;  // c(i, j) = c[i * c_row + j]
  std::int64_t c_row;
  bool accumulate = false;  // c += a b instead of c = a b
};

namespace detail {

#ifdef __AVX512F__
inline constexpr int panel_vectors = 4;
#else
inline constexpr int panel_vectors = 2;
#endif

/// `Rows` rows by `Vectors` vectors of c, each element one sum over l = 0, 1, ..., k - 1.
template <int Rows, int Vectors>
void multiply_tile(const MatrixProduct& p, int row, int column) {
  Vector sum[Rows][Vectors];
  float* c = p.c + row * p.c_row + column;
#pragma GCC unroll 24
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      sum[i][v] = p.accumulate ? load(c + i * p.c_row + v * lanes) : Vector{};
  // One address for four rows, so that all addresses fit in registers.
  constexpr int quads = (Rows + 3) / 4;
  const float* a[quads];
#pragma GCC unroll 6
  for (int q = 0; q < quads; ++q) a[q] = p.a + (row + 4 * q) * p.a_row;
  const float* b = p.b + column;
  for (int l = 0; l < p.k; ++l, b += p.b_row) {
    Vector w[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) w[v] = load(b + v * lanes);
#pragma GCC unroll 24
    for (int i = 0; i < Rows; ++i) {
      const float value = a[i / 4][i % 4 * p.a_row];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[i][v] += value * w[v];
    }
#pragma GCC unroll 6
    for (int q = 0; q < quads; ++q) a[q] += p.a_column;
  }
#pragma GCC unroll 24
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) store(c + i * p.c_row + v * lanes, sum[i][v]);
}

/// multiply_tile for 1, 2, ..., `most` rows.
template <int Vectors, int most>
constexpr auto tiles = []<int... R>(std::integer_sequence<int, R...>) {
  return std::array{multiply_tile<R + 1, Vectors>...};
}
(std::make_integer_sequence<int, most>{});

/// In tiles of about the same number of rows, since tiles of few keep the processor waiting.
template <int Vectors>
void multiply_panel(const MatrixProduct& p, int column) {
  constexpr int most = 6 * panel_vectors / Vectors;  // rows, as many as registers hold
  for (int left = (p.m + most - 1) / most, row = 0; left > 0; --left) {
    const int rows = (p.m - row + left - 1) / left;
    tiles<Vectors, most>[rows - 1](p, row, column);
    row += rows;
  }
}

/// The columns from `column` on that whole panels of `Vectors` vectors cover; returns the next one.
template <int Vectors>
int multiply_panels(const MatrixProduct& p, int column) {
  for (; column + Vectors * lanes <= p.n; column += Vectors * lanes)
    multiply_panel<Vectors>(p, column);
  return column;
}

}  // namespace detail

inline void multiply(const MatrixProduct& p) {
  int column = detail::multiply_panels<detail::panel_vectors>(p, 0);
  if constexpr (detail::panel_vectors > 2) column = detail::multiply_panels<2>(p, column);
  detail::multiply_panels<1>(p, column);
}

}  // namespace anaphase::kernels
