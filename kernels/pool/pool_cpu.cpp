// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>

#include "kernels/common/parallel.hpp"
#include "kernels/common/vector_math.hpp"
#include "kernels/pool/pool.hpp"

namespace anaphase::kernels {
namespace {

/// Whether a value takes the place of the maximum of the positions behind it: as the first of
/// equals, and always when it is a NaN. An integer, because GCC turns a bool into jumps here.
int wins(float value, float best) {
  return (value >= best) | (value != value);
}

/// One output pixel from the window whose first row starts at x and second at x + row.
template <class T>
void pool_pixel(const T* x, std::int64_t row, int channels, T* y, std::int32_t* index) {
#pragma omp simd
  for (int c = 0; c < channels; ++c) {
    float best = x[row + channels + c];
    std::int32_t position = 3;
    const float x2 = x[row + c], x1 = x[channels + c], x0 = x[c];
    const int wins2 = wins(x2, best);
    best = wins2 ? x2 : best;
    position = wins2 ? 2 : position;
    const int wins1 = wins(x1, best);
    best = wins1 ? x1 : best;
    position = wins1 ? 1 : position;
    const int wins0 = wins(x0, best);
    best = wins0 ? x0 : best;
    position = wins0 ? 0 : position;
    store(y[c], best);
    index[c] = position;
  }
}

}  // namespace

void run(Cpu, const MaxPoolForward& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const int out_h = op.h / 2, out_w = op.w / 2, channels = op.c;
    const std::int64_t row = std::int64_t{op.w} * channels;
    const std::int64_t out_row = std::int64_t{out_w} * channels;
    parallel_for(std::int64_t{op.n} * out_h, 4 * out_row, [=](std::int64_t r) {
      const T* x = static_cast<const T*>(op.x) + (r / out_h * op.h + r % out_h * 2) * row;
      T* y = static_cast<T*>(op.y) + r * out_row;
      auto* index = static_cast<std::int32_t*>(op.index) + r * out_row;
      for (std::int64_t w = 0; w < out_w; ++w)
        pool_pixel(x + 2 * w * channels, row, channels, y + w * channels, index + w * channels);
    });
  });
}

void run(Cpu, const MaxPoolBackward& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const int out_h = op.h / 2, out_w = op.w / 2, channels = op.c;
    const std::int64_t row = std::int64_t{op.w} * channels;
    const std::int64_t out_row = std::int64_t{out_w} * channels;
    parallel_for(std::int64_t{op.n} * op.h, row, [=](std::int64_t r) {
      T* dx = static_cast<T*>(op.dx) + r * row;
      const std::int64_t n = r / op.h, oh = r % op.h / 2;
      const bool covered = oh < out_h;
      const std::int32_t first = static_cast<std::int32_t>(r % op.h % 2) * 2;
      const std::int64_t from = covered ? (n * out_h + oh) * out_row : 0;
      const T* dy = static_cast<const T*>(op.dy) + from;
      const auto* index = static_cast<const std::int32_t*>(op.index) + from;
      for (int w = 0; covered && w < out_w; ++w) {
        T* pixel = dx + std::int64_t{2} * w * channels;
#pragma omp simd
        for (int c = 0; c < channels; ++c) {
          const float gradient = dy[w * channels + c];
          const std::int32_t position = index[w * channels + c] - first;
          store(pixel[c], position == 0 ? gradient : 0.0F);
          store(pixel[channels + c], position == 1 ? gradient : 0.0F);
        }
      }
      std::fill(covered ? dx + 2 * out_row : dx, dx + row, T(0.0F));  // odd last row or column
    });
  });
}

}  // namespace anaphase::kernels
