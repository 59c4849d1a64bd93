// SPDX-License-Identifier: Apache-2.0
#pragma once

// Softmax over few classes, as the CPU's softmax and losses share it: a block of rows at a time and
// class by class, so that the inner loops run over rows, whatever the number of classes.

#include <algorithm>
#include <cstdint>

#include "kernels/common/parallel.hpp"
#include "kernels/common/vector_math.hpp"

namespace anaphase::kernels {

inline constexpr int block_rows = 256;

/// The rows of a tensor in chunks, and each chunk in blocks. A function of the sizes alone.
struct RowBlocks {
  static constexpr std::int64_t rows_of_chunk = 8 * block_rows;
  std::int64_t rows;
  int classes;

  std::int64_t chunks() const { return chunks_of(rows, rows_of_chunk); }

  /// body(chunk, first row, rows) for every block, chunks in parallel, blocks of a chunk in order.
  template <class Body>
  void for_each(Body&& body) const {
    constexpr std::int64_t cost_of_value = 8;  // against that of touching it
    parallel_for(chunks(), rows_of_chunk * classes * cost_of_value, [&](std::int64_t chunk) {
      const std::int64_t end = std::min(rows, (chunk + 1) * rows_of_chunk);
      for (std::int64_t r = chunk * rows_of_chunk; r < end; r += block_rows)
        body(chunk, r, static_cast<int>(std::min<std::int64_t>(block_rows, end - r)));
    });
  }
};

/// The largest value of each row and its class, the lowest of equals.
template <class T>
struct RowMaxima {
  const T* x;  // the block's first row
  int rows, classes;
  alignas(64) float largest[block_rows];
  alignas(64) std::int32_t best[block_rows];

  RowMaxima(const T* tensor, std::int64_t first, int rows_, int classes_)
      : x(tensor + first * classes_), rows(rows_), classes(classes_) {
    for (int r = 0; r < rows; ++r) {
      largest[r] = x[std::int64_t{r} * classes];
      best[r] = 0;
    }
    for (int k = 1; k < classes; ++k) {
#pragma omp simd
      for (int r = 0; r < rows; ++r) {
        const float v = x[std::int64_t{r} * classes + k];
        const bool larger = v > largest[r];
        largest[r] = larger ? v : largest[r];
        best[r] = larger ? k : best[r];
      }
    }
  }
};

/// p_k = e^(x_k - largest) / (1 + rest), rest = the sum of e^(x_k - largest) over the other
/// classes: the logarithm of the sum, log1p(rest), keeps its precision where one class dominates.
template <class T>
struct SoftmaxBlock : RowMaxima<T> {
  using RowMaxima<T>::x, RowMaxima<T>::rows, RowMaxima<T>::classes, RowMaxima<T>::largest;
  alignas(64) float rest[block_rows];
  alignas(64) float inverse[block_rows];  // 1 / (1 + rest), the largest probability

  SoftmaxBlock(const T* tensor, std::int64_t first, int rows_, int classes_)
      : RowMaxima<T>(tensor, first, rows_, classes_) {
    std::fill_n(rest, rows, 0.0F);
    for (int k = 0; k < classes; ++k) {
#pragma omp simd
      for (int r = 0; r < rows; ++r) {
        const float e = fast_exp(below_largest(r, k));
        rest[r] += this->best[r] == k ? 0.0F : e;
      }
    }
#pragma omp simd
    for (int r = 0; r < rows; ++r) inverse[r] = 1 / (1 + rest[r]);
  }

  float below_largest(int r, int k) const {
    return x[std::int64_t{r} * classes + k] - largest[r];
  }
  float probability(int r, int k) const {
    return fast_exp(below_largest(r, k)) * inverse[r];
  }
};

}  // namespace anaphase::kernels
