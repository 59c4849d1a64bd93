// SPDX-License-Identifier: Apache-2.0
#include "kernels/resample/resample.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "kernels/common/parallel.hpp"
#include "kernels/common/vector_math.hpp"

namespace anaphase::kernels {
namespace {

/// One or two neighbouring input positions and their weights.
struct Tap {
  std::int64_t index;
  int count;
  float weight[2];
};

struct Range {
  std::int64_t begin, end;
};

/// One axis in exact integer arithmetic: output position p looks at (slope * p + offset) / unit.
class Axis {
 public:
  Axis(ResampleMode mode, int in, int out) : in_(in), out_(out) {
    switch (mode) {
      case ResampleMode::nearest:
        slope_ = in, unit_ = out, linear_ = false;
        break;
      case ResampleMode::linear:
        slope_ = 2 * in_, offset_ = in_ - out_, unit_ = 2 * out_;
        break;
      case ResampleMode::linear_aligned:
        slope_ = in - 1, unit_ = std::max(out - 1, 1);
        break;
    }
    inverse_unit_ = 1 / static_cast<float>(unit_);
  }

  Tap tap(std::int64_t p) const {
    const std::int64_t index = position(p) / unit_, rest = position(p) % unit_;
    if (!linear_ || rest == 0) return {index, 1, {1, 0}};
    const float second = static_cast<float>(rest) * inverse_unit_;
    return {index, 2, {1 - second, second}};
  }

  /// The output positions that input position i has weight in: those that look beyond i - 1 and
  /// short of i + 1.
  Range seen_from(std::int64_t i) const {
    const std::int64_t begin = linear_ ? (i - 1) * unit_ + 1 : i * unit_;
    return {i == 0 ? 0 : first_reaching(begin),
            i + 1 == in_ ? out_ : first_reaching((i + 1) * unit_)};
  }

  /// The weight of input position i in an output position of that range.
  float weight(std::int64_t i, std::int64_t p) const {
    if (!linear_) return 1;
    return 1 - static_cast<float>(std::abs(position(p) - i * unit_)) * inverse_unit_;
  }

 private:
  std::int64_t position(std::int64_t p) const {
    const std::int64_t position = slope_ * p + offset_;
    return linear_ ? std::clamp<std::int64_t>(position, 0, (in_ - 1) * unit_) : position;
  }

  /// The first output position that looks at `position` / unit or beyond.
  std::int64_t first_reaching(std::int64_t position) const {
    const std::int64_t p = (position - offset_ + slope_ - 1) / slope_;
    return std::clamp<std::int64_t>(p, 0, out_);
  }

  std::int64_t in_, out_, slope_ = 0, offset_ = 0, unit_ = 1;
  float inverse_unit_ = 1;
  bool linear_ = true;
};

struct Axes {
  Axis d, h, w;
  explicit Axes(const ResampleShape& s)
      : d(s.mode, s.d, s.out_d), h(s.mode, s.h, s.out_h), w(s.mode, s.w, s.out_w) {}
};

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
#pragma omp simd
  for (int c = 0; c < channels; ++c) {
    float sum = weight[0] * pixel[0][c];
    for (int k = 1; k < rows * taps; ++k) sum += weight[k] * pixel[k][c];
    store(y[c], add ? y[c] + sum : sum);
  }
}

/// The input rows of an output row, up to two on each of the axes d and h, and their weights.
template <class T>
struct Rows {
  int count = 1;
  const T* row[4];
  float weight[4] = {1};

  explicit Rows(const T* origin) : row{origin} {}

  void spread(const Tap& tap, std::int64_t stride) {
    for (int k = 0; k < count; ++k) {
      row[k] += tap.index * stride;
      if (tap.count == 1) continue;
      row[count + k] = row[k] + stride;
      weight[count + k] = weight[k] * tap.weight[1];
      weight[k] *= tap.weight[0];
    }
    count *= tap.count;
  }
};

template <int rows, class T>
void blend_row(const Rows<T>& from, const Axis& axis, int out_w, int channels, T* y) {
  for (int p = 0; p < out_w; ++p, y += channels) {
    const Tap tap = axis.tap(p);
    const auto sum =
        tap.count == 1 ? sum_pixels<rows, 1, false, T, T> : sum_pixels<rows, 2, false, T, T>;
    sum(from.row, from.weight, tap.index * channels, tap.weight, channels, channels, y);
  }
}

}  // namespace

void run(Cpu, const ResampleForward& op) {
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    const ResampleShape& s = op.shape;
    const Axes axes(s);
    const std::int64_t line = std::int64_t{s.w} * s.c, plane = s.h * line;
    const std::int64_t out_line = std::int64_t{s.out_w} * s.c;
    parallel_for(std::int64_t{s.n} * s.out_d * s.out_h, out_line, [&](std::int64_t r) {
      const std::int64_t h = r % s.out_h, d = r / s.out_h % s.out_d, n = r / s.out_h / s.out_d;
      Rows<T> rows(static_cast<const T*>(op.x) + n * s.d * plane);
      rows.spread(axes.d.tap(d), plane);
      rows.spread(axes.h.tap(h), line);
      const auto blend = rows.count == 1   ? blend_row<1, T>
                         : rows.count == 2 ? blend_row<2, T>
                                           : blend_row<4, T>;
      blend(rows, axes.w, s.out_w, s.c, static_cast<T*>(op.y) + r * out_line);
    });
  });
}

void run(Cpu, const ResampleBackward& op) {
  constexpr int segment = 256;  // channels summed together
  constexpr int group = 4;      // output pixels of a row summed together
  with_cpu_type(op.type, [&](auto tag) {
    using T = decltype(tag);
    constexpr decltype(&sum_pixels<1, 1, true, T, float>) add_pixels[group] = {
        sum_pixels<1, 1, true>, sum_pixels<1, 2, true>, sum_pixels<1, 3, true>,
        sum_pixels<1, 4, true>};
    const ResampleShape& s = op.shape;
    const Axes axes(s);
    const std::int64_t out_line = std::int64_t{s.out_w} * s.c;
    const std::int64_t work = s.w * s.c + s.out_d * s.out_h * out_line / (s.d * s.h);
    parallel_for(std::int64_t{s.n} * s.d * s.h, work, [&](std::int64_t r) {
      const std::int64_t h = r % s.h, d = r / s.h % s.d, n = r / s.h / s.d;
      const Range ds = axes.d.seen_from(d), hs = axes.h.seen_from(h);
      const T* dy = static_cast<const T*>(op.dy) + n * s.out_d * s.out_h * out_line;
      for (int i = 0; i < s.w * ((s.c + segment - 1) / segment); ++i) {
        const int w = i % s.w, first = i / s.w * segment;
        const Range ws = axes.w.seen_from(w);
        const int channels = std::min(segment, s.c - first);
        float sum[segment];
        std::fill(sum, sum + channels, 0.0F);
        for (std::int64_t p = ws.begin; p < ws.end; p += group) {
          const int count = static_cast<int>(std::min<std::int64_t>(group, ws.end - p));
          float weight[group];
          for (int k = 0; k < count; ++k) weight[k] = axes.w.weight(w, p + k);
          for (std::int64_t od = ds.begin; od < ds.end; ++od)
            for (std::int64_t oh = hs.begin; oh < hs.end; ++oh) {
              const float row_weight = axes.d.weight(d, od) * axes.h.weight(h, oh);
              const T* row = dy + (od * s.out_h + oh) * out_line + first;
              add_pixels[count - 1](&row, &row_weight, p * s.c, weight, s.c, channels, sum);
            }
        }
        T* dx = static_cast<T*>(op.dx) + (r * s.w + w) * s.c + first;
#pragma omp simd
        for (int c = 0; c < channels; ++c) store(dx[c], sum[c]);
      }
    });
  });
}

}  // namespace anaphase::kernels
