// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool/pool.hpp"

#include "kernels/common/gpu/divide.cuh"
#include "kernels/common/gpu/row_tiles.cuh"
#include "kernels/common/gpu/vector.cuh"

// The maximum of 2x2 windows and its position; backward, a gradient goes where the maximum was.
//
// Bytes a window and channel, elements of s bytes: forward 4 s read, s + 4 written; backward s + 4
// read, 4 s written, which is the least possible. Operations: 3 comparisons, so memory binds. A
// thread takes a whole window, 16 bytes of its channels, in both directions: four independent loads
// forward and four stores backward, of which the two of a row lie in what the warp touches without
// gaps. Backward, windows cut off by an odd last row or column take part as windows of no gradient,
// so that each element of dx is written once and by one kernel.

namespace anaphase::kernels {
namespace {

/// Whether a value takes the place of the maximum so far: as the larger one, and as the first NaN.
__device__ bool wins(float value, float best) {
  return value > best || (value != value && best == best);
}

/// Columns of tiles: a pixel of the windows, then its channels.
template <class T, int Lanes>
__global__ void __launch_bounds__(RowTiles::threads)
    max_pool_forward(RowTiles tiles, Divisor out_h, Divisor vectors, int h, int w, int channels,
                     const T* __restrict__ x, T* __restrict__ y, std::int32_t* __restrict__ index) {
  const std::int64_t line = std::int64_t{w} * channels;
  tiles.for_each_column([&](int i) {
    int pixel = i;
    const int channel = vectors.split_off(pixel) * Lanes;
    tiles.for_each_row([&](int r) {
      const int row = tiles.first_row() + r;
      int n = row;
      const int out_row = out_h.split_off(n);
      const T* window = x + (std::int64_t{n} * h + 2 * out_row) * line +
                        std::int64_t{2} * pixel * channels + channel;
      const Vector<float, Lanes> value[4] = {
          load_float<Lanes>(window), load_float<Lanes>(window + channels),
          load_float<Lanes>(window + line), load_float<Lanes>(window + line + channels)};
      Vector<float, Lanes> best = value[0];
      Vector<std::int32_t, Lanes> position{};
#pragma unroll
      for (int k = 1; k < 4; ++k)
#pragma unroll
        for (int j = 0; j < Lanes; ++j) {
          const bool takes = wins(value[k][j], best[j]);
          best[j] = takes ? value[k][j] : best[j];
          position[j] = takes ? k : position[j];
        }
      const std::int64_t at = (std::int64_t{row} * tiles.columns + i) * Lanes;
      store_float(y + at, best);
      store(index + at, position);
    });
  });
}

template <class T, int Lanes>
__global__ void __launch_bounds__(RowTiles::threads)
    max_pool_backward(RowTiles tiles, Divisor windows_h, Divisor vectors, int h, int w,
                      int channels, const T* __restrict__ dy,
                      const std::int32_t* __restrict__ index, T* __restrict__ dx) {
  const std::int64_t line = std::int64_t{w} * channels;
  const int out_h = h / 2, out_w = w / 2;
  tiles.for_each_column([&](int i) {
    int pixel = i;
    const int channel = vectors.split_off(pixel) * Lanes;
    tiles.for_each_row([&](int r) {
      int n = tiles.first_row() + r;
      const int row = windows_h.split_off(n);
      Vector<T, Lanes> gradient{};
      Vector<std::int32_t, Lanes> position{};
      if (row < out_h && pixel < out_w) {
        const std::int64_t at =
            ((std::int64_t{n} * out_h + row) * out_w + pixel) * channels + channel;
        gradient = load<Lanes>(dy + at);
        position = load<Lanes>(index + at);
      }
      T* window = dx + (std::int64_t{n} * h + 2 * row) * line + std::int64_t{2} * pixel * channels +
                  channel;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (2 * row + k / 2 >= h || 2 * pixel + k % 2 >= w) continue;
        Vector<T, Lanes> value;
#pragma unroll
        for (int j = 0; j < Lanes; ++j) value[j] = position[j] == k ? gradient[j] : T(0.0F);
        store(window + k / 2 * line + k % 2 * channels, value);
      }
    });
  });
}

}  // namespace

void run(Gpu gpu, const MaxPoolForward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.c, [&]<class Lanes>(Lanes) {
      const int out_h = op.h / 2, vectors = op.c / Lanes::value;
      if (out_h == 0) return;
      const RowTiles tiles(std::int64_t{op.n} * out_h, std::int64_t{op.w / 2} * vectors);
      launch<max_pool_forward<T, Lanes::value>>(
          gpu, tiles.grid(), tiles, Divisor(out_h), Divisor(vectors), op.h, op.w, op.c,
          static_cast<const T*>(op.x), static_cast<T*>(op.y), static_cast<std::int32_t*>(op.index));
    });
  });
}

void run(Gpu gpu, const MaxPoolBackward& op) {
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(op.c, [&]<class Lanes>(Lanes) {
      const int windows_h = ceil_div(op.h, 2), vectors = op.c / Lanes::value;
      const RowTiles tiles(std::int64_t{op.n} * windows_h,
                           std::int64_t{ceil_div(op.w, 2)} * vectors);
      launch<max_pool_backward<T, Lanes::value>>(
          gpu, tiles.grid(), tiles, Divisor(windows_h), Divisor(vectors), op.h, op.w, op.c,
          static_cast<const T*>(op.dy), static_cast<const std::int32_t*>(op.index),
          static_cast<T*>(op.dx));
    });
  });
}

}  // namespace anaphase::kernels
