// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/common/parallel.hpp"
#include "kernels/common/vector.hpp"
#include "kernels/common/vector_math.hpp"
#include "kernels/resample/axis.hpp"

namespace anaphase::kernels {
namespace {

/// y (+)= the sum over `rows` rows of `taps` pixels side by side, weighted row by row and tap by
/// tap, all channels. `stride` leads from pixel to pixel, `offset` to the first of them.
template <int rows, int taps, bool add, class T, class Y>
void sum_pixels(const T* const* row, const float* row_weight, std::int64_t offset,
                const float* tap_weight, std::int64_t stride, int channels, Y* y) {
  const T* pixel[rows * taps];
  float weight[rows * taps];
  for (int k = 0; k < rows * taps; ++k) {
    pixel[k] = row[k / taps] + offset + k % taps * stride;
    weight[k] = row_weight[k / taps] * tap_weight[k % taps];
  }
  int c = 0;
  for (; c + lanes <= channels; c += lanes) {
    Vector sum = weight[0] * load(pixel[0] + c);
    for (int k = 1; k < rows * taps; ++k) sum += weight[k] * load(pixel[k] + c);
    store(y + c, add ? load(y + c) + sum : sum);
  }
  for (; c < channels; ++c) {
    float sum = weight[0] * pixel[0][c];
    for (int k = 1; k < rows * taps; ++k) sum += weight[k] * pixel[k][c];
    store(y[c], add ? y[c] + sum : sum);
  }
}

/// y = x, all channels.
template <class T>
void copy_pixel(const T* x, int channels, T* y) {
  int c = 0;
  for (; c + lanes <= channels; c += lanes)  // of a constant size, without a call
    std::memcpy(static_cast<void*>(y + c), x + c, lanes * sizeof(T));
  for (; c < channels; ++c) y[c] = x[c];
}

/// The `pixels` output pixels that `taps` are of, each behind the channels of a skip connection.
template <int rows, class T>
void blend_pixels(const Rows<const T*>& from, const Tap* taps, int pixels, int channels,
                  const T* skip, int skip_channels, T* y) {
  for (const Tap* tap = taps; tap < taps + pixels; ++tap, y += channels) {
    copy_pixel(skip, skip_channels, y);
    skip += skip_channels, y += skip_channels;
    const std::int64_t offset = tap->index * channels;
    if (tap->count == 1)
      sum_pixels<rows, 1, false>(from.row, from.weight, offset, tap->weight, channels, channels, y);
    else
      sum_pixels<rows, 2, false>(from.row, from.weight, offset, tap->weight, channels, channels, y);
  }
}

}  // namespace

void run(Cpu, const ResampleForward& op) {
  constexpr int segment = 64;   // output pixels whose taps are found together
  constexpr int task_rows = 8;  // output rows that share them
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const ResampleShape& s = op.shape;
    const Axes axes(s);
    const std::int64_t line = std::int64_t{s.w} * s.c, plane = s.h * line;
    const std::int64_t out_line = std::int64_t{s.out_w} * (op.skip_channels + s.c);
    const std::int64_t rows = std::int64_t{s.n} * s.out_d * s.out_h;
    const auto blend = [&](std::int64_t r, int first, const Tap* taps, int pixels) {
      const std::int64_t h = r % s.out_h, d = r / s.out_h % s.out_d, n = r / s.out_h / s.out_d;
      auto from = Rows<const T*>::at(static_cast<const T*>(op.x) + n * s.d * plane);
      from.spread(axes.d.tap(d), plane);
      from.spread(axes.h.tap(h), line);
      const auto blend_rows = from.count == 1   ? blend_pixels<1, T>
                              : from.count == 2 ? blend_pixels<2, T>
                                                : blend_pixels<4, T>;
      const std::int64_t pixel = r * s.out_w + first;
      blend_rows(from, taps, pixels, s.c, static_cast<const T*>(op.skip) + pixel * op.skip_channels,
                 op.skip_channels, static_cast<T*>(op.y) + pixel * (op.skip_channels + s.c));
    };
    parallel_for(chunks_of(rows, task_rows), task_rows * out_line, [&](std::int64_t task) {
      const std::int64_t end = std::min(rows, (task + 1) * task_rows);
      for (int first = 0; first < s.out_w; first += segment) {
        const int pixels = std::min(segment, s.out_w - first);
        Tap taps[segment];
        for (int p = 0; p < pixels; ++p) taps[p] = axes.w.tap(first + p);
        for (std::int64_t r = task * task_rows; r < end; ++r) blend(r, first, taps, pixels);
      }
    });
  });
}

void run(Cpu, const ResampleBackward& op) {
  constexpr int segment = 256;  // channels summed together
  constexpr int group = 4;      // output pixels of a row summed together
  constexpr int task_rows = 4;  // rows whose columns look at the same outputs
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    constexpr decltype(&sum_pixels<1, 1, true, T, float>) add_pixels[group] = {
        sum_pixels<1, 1, true>, sum_pixels<1, 2, true>, sum_pixels<1, 3, true>,
        sum_pixels<1, 4, true>};
    struct Row {
      Outputs d, h;
      const T* dy;  // of its sample
      T* dx;
    };
    const ResampleShape& s = op.shape;
    const Axes axes(s);
    const bool linear = s.mode != ResampleMode::nearest;  // else all weights are 1
    const std::int64_t line = std::int64_t{s.w} * s.c, out_line = std::int64_t{s.out_w} * s.c;
    const std::int64_t rows = std::int64_t{s.n} * s.d * s.h;
    const std::int64_t work = line + s.out_d * s.out_h * out_line / (s.d * s.h);
    parallel_for(chunks_of(rows, task_rows), task_rows * work, [&](std::int64_t task) {
      Row row_of[task_rows];
      const std::int64_t first_row = task * task_rows;
      const auto count = static_cast<int>(std::min<std::int64_t>(task_rows, rows - first_row));
      for (int k = 0; k < count; ++k) {
        const std::int64_t r = first_row + k, h = r % s.h, d = r / s.h % s.d, n = r / s.h / s.d;
        row_of[k] = {axes.d.outputs_of(d), axes.h.outputs_of(h),
                     static_cast<const T*>(op.dy) + n * s.out_d * s.out_h * out_line,
                     static_cast<T*>(op.dx) + r * line};
      }
      for (int i = 0; i < s.w * ((s.c + segment - 1) / segment); ++i) {
        const int w = i % s.w, first = i / s.w * segment;
        const Outputs ws = axes.w.outputs_of(w);
        const int channels = std::min(segment, s.c - first);
        for (int k = 0; k < count; ++k) {
          const Row& row = row_of[k];
          float sum[segment];
          std::fill(sum, sum + channels, 0.0F);
          for (int p = ws.begin; p < ws.end; p += group) {
            const int pixels = std::min(group, ws.end - p);
            float weight[group] = {1, 1, 1, 1};
            for (int j = 0; linear && j < pixels; ++j) weight[j] = ws.weight(p + j);
            for (int od = row.d.begin; od < row.d.end; ++od)
              for (int oh = row.h.begin; oh < row.h.end; ++oh) {
                const float row_weight = linear ? row.d.weight(od) * row.h.weight(oh) : 1;
                const T* dy = row.dy + (std::int64_t{od} * s.out_h + oh) * out_line + first;
                add_pixels[pixels - 1](&dy, &row_weight, std::int64_t{p} * s.c, weight, s.c,
                                       channels, sum);
              }
          }
          T* dx = row.dx + std::int64_t{w} * s.c + first;
#pragma omp simd
          for (int c = 0; c < channels; ++c) store(dx[c], sum[c]);
        }
      }
    });
  });
}

}  // namespace anaphase::kernels
