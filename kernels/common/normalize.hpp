// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the normalisations share on the CPU: passes over a chunk of the rows of x [rows, channels],
// with coefficients for each channel. A pass gathers several rows of few channels into one span of
// up to `span_lanes` values, with the coefficients repeated to match, so that its inner loop is
// long whatever the number of channels.

#include <algorithm>
#include <cstdint>

#include "kernels/common/parallel.hpp"
#include "kernels/common/vector.hpp"
#include "kernels/common/vector_math.hpp"

namespace anaphase::kernels {

inline constexpr int span_lanes = 512;
/// Lanes whose sums stay in registers (a constant, so that bits do not depend on their width).
inline constexpr int summed_lanes = 64;

/// The rows of a tensor, cut into chunks: enough for vectors and threads, few enough that a second
/// pass finds them in the cache. A function of the sizes alone.
struct RowChunks {
  std::int64_t rows;
  int channels;
  std::int64_t rows_each, count;

  RowChunks(std::int64_t rows_, int channels_)
      : rows(rows_),
        channels(channels_),
        rows_each(std::max<std::int64_t>(1, 16384 / channels_)),
        count(chunks_of(rows_, rows_each)) {}

  std::int64_t begin(std::int64_t chunk) const { return chunk * rows_each; }
  std::int64_t end(std::int64_t chunk) const { return std::min(rows, (chunk + 1) * rows_each); }
  double rows_of(std::int64_t chunk) const {
    return static_cast<double>(end(chunk) - begin(chunk));
  }
};

/// body(sample, chunk) for every chunk of `samples` tensors.
template <class Body>
void for_each_chunk(const RowChunks& chunks, int samples, Body&& body) {
  parallel_for(samples * chunks.count, chunks.rows_each * chunks.channels,
               [&](std::int64_t i) { body(static_cast<int>(i / chunks.count), i % chunks.count); });
}

/// Channels [first, first + channels) of `rows` rows as one span of channels * rows lanes. Rows of
/// more than span_lanes channels are cut into several spans of one row.
struct Span {
  int first, channels, rows;

  int lanes() const { return channels * rows; }

  /// The values of this span's channels, repeated for each of its rows.
  template <class V>
  void spread(const V* of_channel, float* of_lane) const {
    for (int c = 0; c < channels; ++c) of_lane[c] = static_cast<float>(of_channel[first + c]);
    for (int filled = channels; filled < lanes(); filled *= 2)
      std::copy_n(of_lane, std::min(filled, lanes() - filled), of_lane + filled);
  }
  /// Adds the lanes of all rows into those of the first, pairwise.
  void fold(float* of_lane) const {
    for (int left = rows; left > 1; left -= left / 2) {
      const int upper = (left - left / 2) * channels;
      for (int i = 0; i < left / 2 * channels; ++i) of_lane[i] += of_lane[upper + i];
    }
  }
  /// body(offset, count): the spans of rows [begin, end), as element offsets into x.
  template <class Body>
  void for_each(std::int64_t begin, std::int64_t end, int all_channels, Body&& body) const {
    for (std::int64_t r = begin; r < end; r += rows)
      body(r * all_channels + first,
           static_cast<int>(std::min<std::int64_t>(rows, end - r)) * channels);
  }
};

template <int most = span_lanes, class Body>
void for_each_span(int channels, Body&& body) {
  if (channels <= most) return body(Span{0, channels, most / channels});
  for (int first = 0; first < channels; first += most)
    body(Span{first, std::min(most, channels - first), 1});
}

/// sum[lane] = the sum of f(x - center[lane]) over rows [begin, end) of a span of at most
/// summed_lanes lanes; f takes a float or a Vector of them.
template <class T, class F>
void sum_span(const Span& span, const T* x, std::int64_t begin, std::int64_t end, int channels,
              const float* center, F f, float* sum) {
  constexpr int vectors = summed_lanes / lanes;
  Vector total[vectors] = {};
  if (span.lanes() == summed_lanes) {
    Vector middle[vectors];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) middle[v] = load(center + v * lanes);
    for (; begin + span.rows <= end; begin += span.rows) {
      const T* rows = x + begin * channels + span.first;
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) total[v] += f(load(rows + v * lanes) - middle[v]);
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < vectors; ++v) store(sum + v * lanes, total[v]);
  span.for_each(begin, end, channels, [&](std::int64_t offset, int count) {
#pragma omp simd
    for (int i = 0; i < count; ++i) sum[i] += f(x[offset + i] - center[i]);
  });
}

/// The mean and the sum of squared deviations from it of each channel over rows [begin, end). Two
/// passes, the first relative to row `begin`: a large common offset costs no precision.
template <class T>
void channel_moments(const T* x, std::int64_t begin, std::int64_t end, int channels, double* mean,
                     double* square) {
  for_each_span<summed_lanes>(channels, [&](const Span& span) {
    alignas(64) float center[summed_lanes], sum[summed_lanes], deviation[summed_lanes];
    span.spread(x + begin * channels, center);
    sum_span(
        span, x, begin, end, channels, center, [](auto d) { return d; }, sum);
    span.fold(sum);
    const auto rows = static_cast<double>(end - begin);
    for (int c = 0; c < span.channels; ++c) mean[span.first + c] = center[c] + sum[c] / rows;
    span.spread(mean, center);
    sum_span(
        span, x, begin, end, channels, center, [](auto d) { return d * d; }, deviation);
    span.fold(deviation);
    for (int c = 0; c < span.channels; ++c) {
      const double rounding = mean[span.first + c] - center[c];
      square[span.first + c] = std::max(0.0, deviation[c] - rows * rounding * rounding);
    }
  });
}

struct Moments {
  double mean, variance;
};

/// The moments of channels [begin, end) taken together, from `of_chunk` [chunks, (mean, square),
/// channels] as channel_moments leaves them.
inline Moments combine_moments(const double* of_chunk, const RowChunks& chunks, int begin,
                               int end) {
  const int channels = chunks.channels;
  const double count = static_cast<double>(chunks.rows) * (end - begin);
  double mean = 0, square = 0;
  for (std::int64_t k = 0; k < chunks.count; ++k) {
    double sum = 0;
    for (int c = begin; c < end; ++c) sum += of_chunk[2 * k * channels + c];
    mean += sum * chunks.rows_of(k);
  }
  mean /= count;
  for (std::int64_t k = 0; k < chunks.count; ++k) {
    double within = 0, between = 0;
    for (int c = begin; c < end; ++c) {
      const double deviation = of_chunk[2 * k * channels + c] - mean;
      within += of_chunk[(2 * k + 1) * channels + c];
      between += deviation * deviation;
    }
    square += within + between * chunks.rows_of(k);
  }
  return {mean, square / count};
}

/// For each channel: u = (x - mean) * factor + term.
struct Affine {
  const float* mean;
  const float* factor;
  const float* term;
};

/// y = f((x - mean) * factor + term) over rows [begin, end). y may be x.
template <class T, class F>
void apply_affine(const T* x, std::int64_t begin, std::int64_t end, int channels,
                  const Affine& affine, F f, T* y) {
  for_each_span(channels, [&](const Span& span) {
    alignas(64) float mean[span_lanes], factor[span_lanes], term[span_lanes];
    span.spread(affine.mean, mean);
    span.spread(affine.factor, factor);
    span.spread(affine.term, term);
    span.for_each(begin, end, channels, [&](std::int64_t offset, int count) {
      const F g = f;
#pragma omp simd
      for (int i = 0; i < count; ++i)
        store(y[offset + i], g((x[offset + i] - mean[i]) * factor[i] + term[i]));
    });
  });
}

/// The sums over rows [begin, end) of du = dy * f'(u) and of du * (x - mean), for each channel.
template <class T, class F>
void affine_sums(const T* x, const T* dy, std::int64_t begin, std::int64_t end, int channels,
                 const Affine& affine, F f, float* sum_du, float* sum_du_x) {
  for_each_span(channels, [&](const Span& span) {
    alignas(64) float mean[span_lanes], factor[span_lanes], term[span_lanes];
    alignas(64) float sum[span_lanes] = {}, sum_x[span_lanes] = {};
    span.spread(affine.mean, mean);
    span.spread(affine.factor, factor);
    span.spread(affine.term, term);
    span.for_each(begin, end, channels, [&](std::int64_t offset, int count) {
      const F g = f;
#pragma omp simd
      for (int i = 0; i < count; ++i) {
        const float d = x[offset + i] - mean[i];
        const float du = dy[offset + i] * g.slope(d * factor[i] + term[i]);
        sum[i] += du;
        sum_x[i] += du * d;
      }
    });
    span.fold(sum);
    span.fold(sum_x);
    std::copy_n(sum, span.channels, sum_du + span.first);
    std::copy_n(sum_x, span.channels, sum_du_x + span.first);
  });
}

/// For each channel: dx = du * of_du + (x - mean) * of_x + term.
struct AffineGradient {
  const float* of_du;
  const float* of_x;
  const float* term;
};

/// dx over rows [begin, end), du = dy * f'(u) as above. dx may be dy.
template <class T, class F>
void apply_affine_gradient(const T* x, const T* dy, std::int64_t begin, std::int64_t end,
                           int channels, const Affine& affine, const AffineGradient& gradient, F f,
                           T* dx) {
  for_each_span(channels, [&](const Span& span) {
    alignas(64) float mean[span_lanes], factor[span_lanes], term[span_lanes];
    alignas(64) float of_du[span_lanes], of_x[span_lanes], constant[span_lanes];
    span.spread(affine.mean, mean);
    span.spread(affine.factor, factor);
    span.spread(affine.term, term);
    span.spread(gradient.of_du, of_du);
    span.spread(gradient.of_x, of_x);
    span.spread(gradient.term, constant);
    span.for_each(begin, end, channels, [&](std::int64_t offset, int count) {
      const F g = f;
#pragma omp simd
      for (int i = 0; i < count; ++i) {
        const float d = x[offset + i] - mean[i];
        const float du = dy[offset + i] * g.slope(d * factor[i] + term[i]);
        store(dx[offset + i], du * of_du[i] + d * of_x[i] + constant[i]);
      }
    });
  });
}

}  // namespace anaphase::kernels
