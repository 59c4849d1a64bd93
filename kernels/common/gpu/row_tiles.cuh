// SPDX-License-Identifier: Apache-2.0
#pragma once

// Work on rows of equal columns, for kernels that know more about a row and a column than about
// their product: blocks of threads that keep their column from row to row.

#include <algorithm>
#include <bit>

#include "kernels/common/gpu/launch.cuh"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {

/// A matrix of independent items [rows, columns], cut into tiles of up to `most_rows` rows. A block
/// of `threads` threads takes a tile (blockIdx.x) and the columns that blockIdx.y stands for.
struct RowTiles {
  static constexpr int threads = 256, most_rows = 16;

  int rows, columns;
  int height;  // rows of a tile

  RowTiles(std::int64_t rows_, std::int64_t columns_)
      : rows(static_cast<int>(rows_)), columns(static_cast<int>(columns_)) {
    constexpr std::int64_t most = 1 << 30;
    if (rows_ > most || columns_ > most)
      throw Error("a GPU takes up to 2^30 rows of up to 2^30 elements: split the tensor");
    // Tiles are higher than a block where that leaves enough blocks for a large GPU (H100: 1056 of
    // them at a time).
    constexpr std::int64_t enough_blocks = 1024;
    const int least = threads / width();
    const std::int64_t spare = rows_ * column_blocks() / enough_blocks;
    height = static_cast<int>(std::clamp<std::int64_t>(spare, least, most_rows)) / least * least;
  }

  Grid grid() const {
    return {dim3(static_cast<unsigned>(std::max(ceil_div(rows, height), 1)),
                 static_cast<unsigned>(std::min(column_blocks(), 65535))),
            dim3(static_cast<unsigned>(width()), static_cast<unsigned>(threads / width()))};
  }

  __device__ int first_row() const { return static_cast<int>(blockIdx.x) * height; }
  /// Rows of the block's tile.
  __device__ int row_count() const {
    const int left = rows - first_row();
    return left < height ? left : height;
  }
  /// f(column) for the thread's columns.
  template <class F>
  __device__ void for_each_column(F&& f) const {
    for (int i = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x); i < columns;
         i += static_cast<int>(gridDim.y * blockDim.x))
      f(i);
  }
  /// f(row of the tile) for the thread's rows, neighbours by turns, Unroll at a time.
  template <int Unroll = 1, class F>
  __device__ void for_each_row(F&& f) const {
    const int count = row_count();
#pragma unroll Unroll
    for (int r = static_cast<int>(threadIdx.y); r < count; r += static_cast<int>(blockDim.y)) f(r);
  }

 private:
  /// Threads along a row: a power of two, from 16 to all.
  int width() const {
    return static_cast<int>(
        std::clamp(std::bit_ceil(static_cast<unsigned>(columns)), 16U, unsigned{threads}));
  }
  int column_blocks() const {
    return std::max(ceil_div(columns, width()), 1);
  }
};

}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
