// SPDX-License-Identifier: Apache-2.0
#include "kernels/pixels/pixels.hpp"

#include "kernels/common/gpu/divide.cuh"
#include "kernels/common/gpu/row_tiles.cuh"
#include "kernels/common/gpu/vector.cuh"

// 8-bit pixels to normalised activations, and class values to an 8-bit mask.
//
// Bytes: normalising 1 read and s written an element of s bytes, the mask 4 K read and 1 written a
// pixel of K classes: the least possible. Operations: a multiplication and addition, K - 1
// comparisons; memory binds, and either takes microseconds beside a network's milliseconds.
// Activations are written 16 bytes a thread. Rows of 8-bit pixels start anywhere, so their bytes
// are read one by one; those of a warp lie together and come from the first-level cache after the
// first of them. A thread keeps its column from row to row, and so divides by its channels' std
// once.

namespace anaphase::kernels {
namespace {

/// Columns of tiles: vectors of a row.
template <class T, int Lanes>
__global__ void __launch_bounds__(RowTiles::threads)
    normalise_pixels(RowTiles tiles, Divisor h, int channels, std::int64_t row_stride,
                     std::int64_t image_stride, const std::uint8_t* __restrict__ x,
                     const float* __restrict__ mean, const float* __restrict__ std,
                     T* __restrict__ y) {
  tiles.for_each_column([&](int i) {
    Vector<float, Lanes> scale, shift;
    int channel = i * Lanes % channels;
#pragma unroll
    for (int k = 0; k < Lanes; ++k) {
      scale[k] = 1 / (255.0F * std[channel]);
      shift[k] = -mean[channel] / std[channel];
      channel = channel + 1 == channels ? 0 : channel + 1;
    }
    tiles.for_each_row([&](int r) {
      const int row = tiles.first_row() + r;
      int n = row;
      const int line = h.split_off(n);
      const std::uint8_t* from = x + n * image_stride + line * row_stride + i * Lanes;
      Vector<float, Lanes> value;
#pragma unroll
      for (int k = 0; k < Lanes; ++k)
        value[k] = fmaf(static_cast<float>(from[k]), scale[k], shift[k]);
      store_float(y + (std::int64_t{row} * tiles.columns + i) * Lanes, value);
    });
  });
}

/// Columns of tiles: pixels of a row.
__global__ void __launch_bounds__(RowTiles::threads)
    largest_class(RowTiles tiles, Divisor h, int classes, const float* __restrict__ p,
                  std::int64_t row_stride, std::int64_t image_stride,
                  std::uint8_t* __restrict__ mask) {
  tiles.for_each_column([&](int i) {
    tiles.for_each_row([&](int r) {
      const int row = tiles.first_row() + r;
      int n = row;
      const int line = h.split_off(n);
      const float* values = p + (std::int64_t{row} * tiles.columns + i) * classes;
      float largest = values[0];
      int best = 0;
      for (int k = 1; k < classes; ++k) {
        const float value = values[k];
        if (value > largest) {
          largest = value;
          best = k;
        }
      }
      mask[n * image_stride + line * row_stride + i] = static_cast<std::uint8_t>(best);
    });
  });
}

}  // namespace

void run(Gpu gpu, const NormalisePixels& op) {
  const std::int64_t line = std::int64_t{op.w} * op.c;
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(line, [&]<class Lanes>(Lanes) {
      const RowTiles tiles(std::int64_t{op.n} * op.h, line / Lanes::value);
      launch<normalise_pixels<T, Lanes::value>>(
          gpu, tiles.grid(), tiles, Divisor(op.h), op.c, op.row_stride, op.image_stride, op.x,
          static_cast<const float*>(op.mean), static_cast<const float*>(op.std),
          static_cast<T*>(op.y));
    });
  });
}

void run(Gpu gpu, const LargestClass& op) {
  const RowTiles tiles(std::int64_t{op.n} * op.h, op.w);
  launch<largest_class>(gpu, tiles.grid(), tiles, Divisor(op.h), op.classes,
                        static_cast<const float*>(op.p), op.row_stride, op.image_stride, op.mask);
}

}  // namespace anaphase::kernels
