// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "kernels/common/gpu/divide.cuh"
#include "kernels/common/gpu/row_tiles.cuh"
#include "kernels/common/gpu/shared.cuh"
#include "kernels/common/gpu/vector.cuh"
#include "kernels/resample/axis.hpp"

// Forward, an output pixel is the weighted sum of up to 2 x 2 (x 2) input pixels; backward, an
// input pixel that of all output pixels which it has weight in. Both gather: every thread writes
// what is its own, in one fixed order of sums. The channels of a skip connection are copied by
// threads of their own, which saves writing and reading the resampled tensor once more.
//
// Bytes: both tensors once is the least possible. Where the extents double, mode nearest loads
// every vector of the smaller tensor 4 times forward, of the larger one once backward; mode linear
// 16 and 4 times (volumes: 8 and 1, 64 and 8). All but the first of these come from the L1 cache: a
// block's threads lie along the columns (pixel and channels) of a row, 4 KiB wide, and work down
// the rows of a tile, so that the two or three rows which neighbours share are a few KiB.
// Operations: the place and the weights of a column are found once a thread, those of a row once a
// block, in shared memory; what is left is about 10 integer operations and one fused multiply-add
// an element for each 16-byte load. In the time in which an H100 moves the 20 bytes that belong to
// an output vector of twice the extents, a thread can execute 170 instructions: memory binds. The
// 3 blocks or more of a multiprocessor that registers leave room for have 12 KiB of loads under way
// for each that a thread has, 4 in mode nearest.

namespace anaphase::kernels {
namespace {

/// How the rows and columns of the tensor that is written, [n, d, h, w, vectors of channels], lead
/// to the other one, whose lines, planes and volumes have so many elements.
struct Layout {
  Divisor d, h, vectors;
  std::int64_t line, plane, volume;
};

__device__ int thread_of_block() {
  return static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
}

template <class T, int Lanes, bool Linear>
__global__ void __launch_bounds__(RowTiles::threads, 4)
    resample_forward(RowTiles tiles, Layout layout, Axes axes, int channels, int skip_channels,
                     std::int64_t skip_line, const T* __restrict__ x, const T* __restrict__ skip,
                     T* __restrict__ y) {
  __shared__ SharedArray<Rows<std::int64_t>, RowTiles::most_rows> rows;
  if (const int r = thread_of_block(); r < tiles.row_count()) {
    int n = tiles.first_row() + r;
    const int h = layout.h.split_off(n), d = layout.d.split_off(n);
    Rows<std::int64_t>& from = rows[r];
    from = Rows<std::int64_t>::at(n * layout.volume);
    from.spread(axes.d.tap(d), layout.plane);
    from.spread(axes.h.tap(h), layout.line);
  }
  __syncthreads();
  tiles.for_each_column([&](int i) {
    int pixel = i;
    const int channel = layout.vectors.split_off(pixel) * Lanes;
    T* to = y + (std::int64_t{tiles.first_row()} * tiles.columns + i) * Lanes;
    if (channel < skip_channels) {
      const T* from = skip + tiles.first_row() * skip_line + pixel * skip_channels + channel;
      tiles.for_each_row<4>([&](int r) {
        store(to + std::int64_t{r} * tiles.columns * Lanes, load<Lanes>(from + r * skip_line));
      });
      return;
    }
    const Tap tap = axes.w.tap(pixel);
    const std::int64_t offset = tap.index * channels + channel - skip_channels;
    tiles.for_each_row<Linear ? 1 : 4>([&](int r) {
      const Rows<std::int64_t>& from = rows[r];
      T* result = to + std::int64_t{r} * tiles.columns * Lanes;
      if constexpr (!Linear) {
        store(result, load<Lanes>(x + from.row[0] + offset));
      } else {
        Vector<float, Lanes> sum{};
        const auto add = [&](float weight, const T* pixel_at) {
          const auto v = load_float<Lanes>(pixel_at);
#pragma unroll
          for (int k = 0; k < Lanes; ++k) sum[k] += weight * v[k];
        };
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (j >= from.count) break;
          const T* at = x + from.row[j] + offset;
          add(from.weight[j] * tap.weight[0], at);
          if (tap.count == 2) add(from.weight[j] * tap.weight[1], at + channels);
        }
        store_float(result, sum);
      }
    });
  });
}

/// The outputs that an input row has weight in, and where those of its sample begin.
struct OutputRows {
  std::int64_t sample;
  Outputs d, h;
};

template <class T, int Lanes>
__global__ void __launch_bounds__(RowTiles::threads, 3)
    resample_backward(RowTiles tiles, Layout layout, Axes axes, int channels,
                      const T* __restrict__ dy, T* __restrict__ dx) {
  __shared__ SharedArray<OutputRows, RowTiles::most_rows> rows;
  if (const int r = thread_of_block(); r < tiles.row_count()) {
    int n = tiles.first_row() + r;
    const int h = layout.h.split_off(n), d = layout.d.split_off(n);
    rows[r] = {n * layout.volume, axes.d.outputs_of(d), axes.h.outputs_of(h)};
  }
  __syncthreads();
  tiles.for_each_column([&](int i) {
    int pixel = i;
    const int channel = layout.vectors.split_off(pixel) * Lanes;
    const Outputs w = axes.w.outputs_of(pixel);
    T* to = dx + (std::int64_t{tiles.first_row()} * tiles.columns + i) * Lanes;
    tiles.for_each_row([&](int r) {
      const Outputs &d = rows[r].d, &h = rows[r].h;
      const T* from = dy + rows[r].sample + std::int64_t{w.begin} * channels + channel;
      Vector<float, Lanes> sum{};
      for (int od = d.begin; od < d.end; ++od)
        for (int oh = h.begin; oh < h.end; ++oh) {
          const float weight_of_row = d.weight(od) * h.weight(oh);
          const T* at = from + od * layout.plane + oh * layout.line;
          for (int ow = w.begin; ow < w.end; ++ow, at += channels) {
            const float weight = weight_of_row * w.weight(ow);
            const auto v = load_float<Lanes>(at);
#pragma unroll
            for (int k = 0; k < Lanes; ++k) sum[k] += weight * v[k];
          }
        }
      store_float(to + std::int64_t{r} * tiles.columns * Lanes, sum);
    });
  });
}

}  // namespace

void run(Gpu gpu, const ResampleForward& op) {
  const ResampleShape& s = op.shape;
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(std::gcd(s.c, op.skip_channels), [&]<class Lanes>(Lanes) {
      const std::int64_t line = std::int64_t{s.w} * s.c, plane = s.h * line;
      const int vectors = (op.skip_channels + s.c) / Lanes::value;
      const RowTiles tiles(std::int64_t{s.n} * s.out_d * s.out_h, std::int64_t{s.out_w} * vectors);
      const Layout layout{Divisor(s.out_d), Divisor(s.out_h), Divisor(vectors), line, plane,
                          s.d * plane};
      const auto go = [&]<bool Linear>(std::bool_constant<Linear>) {
        launch<resample_forward<T, Lanes::value, Linear>>(
            gpu, tiles.grid(), tiles, layout, Axes(s), s.c, op.skip_channels,
            std::int64_t{s.out_w} * op.skip_channels, static_cast<const T*>(op.x),
            static_cast<const T*>(op.skip), static_cast<T*>(op.y));
      };
      if (s.mode == ResampleMode::nearest) return go(std::false_type{});
      go(std::true_type{});
    });
  });
}

void run(Gpu gpu, const ResampleBackward& op) {
  const ResampleShape& s = op.shape;
  with_gpu_type(op.type, [&]<class T>(T) {
    with_lanes<T>(s.c, [&]<class Lanes>(Lanes) {
      const std::int64_t line = std::int64_t{s.out_w} * s.c, plane = s.out_h * line;
      const int vectors = s.c / Lanes::value;
      const RowTiles tiles(std::int64_t{s.n} * s.d * s.h, std::int64_t{s.w} * vectors);
      const Layout layout{Divisor(s.d), Divisor(s.h), Divisor(vectors),
                          line,         plane,        s.out_d * plane};
      launch<resample_backward<T, Lanes::value>>(gpu, tiles.grid(), tiles, layout, Axes(s), s.c,
                                                 static_cast<const T*>(op.dy),
                                                 static_cast<T*>(op.dx));
    });
  });
}

}  // namespace anaphase::kernels
