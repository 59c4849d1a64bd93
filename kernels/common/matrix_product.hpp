// SPDX-License-Identifier: Apache-2.0
#pragma once

// The matrix product inside other kernels: small, in float, on one thread, its result a panel a few
// vectors wide that stays in registers while the sum runs.

#include <algorithm>
#include <cstdint>

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
inline constexpr int lanes = 16, panel_vectors = 4;
#else
inline constexpr int lanes = 8, panel_vectors = 2;
#endif
/// One register, at any address that holds floats.
using Vector [[gnu::vector_size(lanes * sizeof(float)), gnu::aligned(4), gnu::may_alias]] = float;

/// `Rows` rows by `Vectors` vectors of c, each element one sum over l = 0, 1, ..., k - 1.
template <int Rows, int Vectors>
void multiply_tile(const MatrixProduct& p, int row, int column) {
  Vector sum[Rows][Vectors];
  float* c = p.c + row * p.c_row + column;
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v)
      sum[i][v] =
          p.accumulate ? *reinterpret_cast<const Vector*>(c + i * p.c_row + v * lanes) : Vector{};
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + column;
  for (int l = 0; l < p.k; ++l, a += p.a_column, b += p.b_row)
    for (int i = 0; i < Rows; ++i)
      for (int v = 0; v < Vectors; ++v)
        sum[i][v] += a[i * p.a_row] * *reinterpret_cast<const Vector*>(b + v * lanes);
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v)
      *reinterpret_cast<Vector*>(c + i * p.c_row + v * lanes) = sum[i][v];
}

template <int Vectors>
void multiply_panel(const MatrixProduct& p, int column) {
  int row = 0;
  for (; row + 6 <= p.m; row += 6) multiply_tile<6, Vectors>(p, row, column);
  for (; row + 2 <= p.m; row += 2) multiply_tile<2, Vectors>(p, row, column);
  if (row < p.m) multiply_tile<1, Vectors>(p, row, column);
}

}  // namespace detail

inline void multiply(const MatrixProduct& p) {
  constexpr int panel = detail::panel_vectors * detail::lanes;
  int column = 0;
  for (; column + panel <= p.n; column += panel)
    detail::multiply_panel<detail::panel_vectors>(p, column);
  for (; column < p.n; column += detail::lanes) detail::multiply_panel<1>(p, column);
}

}  // namespace anaphase::kernels
