// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/direct_cpu.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include "kernels/activation/activation_math.hpp"
#include "kernels/common/onednn.hpp"
#include "kernels/common/vector.hpp"

// A core takes a band of output rows. It copies the input rows that they read, with zeros for the
// padding, so that the innermost loop runs over the taps of a kernel row and their channels in one
// piece, without a condition. There a tile of pixels by two vectors of output channels stays in
// registers: of each step it loads two vectors of weights and one value a pixel. Where the output
// channels are too few to fill a vector, the lanes are input channels, added up at the end. A
// convolution with 1x1 kernels reads its input where it lies.

namespace anaphase::kernels::direct {
namespace {

/// How many input channels one multiplication takes, and how it does.
template <class T>
struct Step;

template <>
struct Step<float> {
  static constexpr int channels = 1;
  using Weights = Vector;
  static Weights load(const float* from) { return kernels::load(from); }
  static Weights broadcast(const float* from) { return *from - Vector{}; }
  static Vector add(Vector sum, Weights a, Weights b) { return sum + a * b; }
};

#ifdef __AVX512BF16__
constexpr bool has_bf16 = true;

template <>
struct Step<bf16> {
  static constexpr int channels = 2;
  using Weights = __m512bh;
  static Weights load(const bf16* from) { return (__m512bh)_mm512_loadu_si512(from); }
  static Weights broadcast(const bf16* from) {
    std::int32_t pair;
    std::memcpy(&pair, from, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  static Vector add(Vector sum, Weights a, Weights b) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, a, b);
  }
};
#else
constexpr bool has_bf16 = false;
#endif

constexpr int vectors = 2;
constexpr int block = vectors * lanes;  // output channels of a tile
#ifdef __AVX512F__
constexpr int most_pixels = 14;  // of a tile: sums, weights and a value fill 32 registers
#else
constexpr int most_pixels = 6;  // or 16
#endif

constexpr int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// What a tile reads.
struct Reach {
  int rows;   // of the kernel
  int steps;  // of a kernel row
  std::int64_t pixel,
      row;  // elements from one output pixel to the next, one kernel row to the next
};

/// Sums over pairs of lanes that are `Half` apart: in lanes without the bit `Half` those of `a`, in
/// lanes with it those of `b`.
template <int Half, int... Lane>
Vector sum_pairs(const Vector& a, const Vector& b, std::integer_sequence<int, Lane...>) {
  return __builtin_shufflevector(a, b, (Lane & Half ? Lane + lanes : Lane)...) +
         __builtin_shufflevector(a, b, (Lane & Half ? Lane - Half + lanes : Lane + Half)...);
}

/// Of `lanes` vectors: lane l of values[0] becomes the sum of the lanes of values[l].
template <int Half, int... V>
[[gnu::always_inline]] inline void sum_lanes(Vector* values, std::integer_sequence<int, V...>) {
  constexpr std::make_integer_sequence<int, lanes> all;
  ((values[V] = sum_pairs<Half>(values[V], values[V + Half], all)), ...);
  if constexpr (Half > 1) sum_lanes<Half / 2>(values, std::make_integer_sequence<int, Half / 2>{});
}

/// What the lanes of a tile's sums are.
enum class Lanes { outputs, inputs };

/// The sums of `Pixels` pixels from `x` on, of `Columns` vectors of output channels:
/// sums[pixel][Columns * lanes]; or, where lanes are inputs, of `Columns` output channels:
/// sums[pixel][Columns], rounded up to whole vectors.
template <class T, Lanes Are, int Pixels, int Columns>
void sum_tile(const Reach& reach, const T* x, const T* weights, float* sums) {
  constexpr int channels = Step<T>::channels, steps = Are == Lanes::inputs ? lanes : 1;
  constexpr int count = Pixels * Columns, padded = round_up(count, lanes);
  Vector sum[Are == Lanes::inputs ? padded : count] = {};
  for (int row = 0; row < reach.rows; ++row, x += reach.row) {
    // One address for four pixels, so that all addresses fit in registers.
    constexpr int quads = (Pixels + 3) / 4;
    const T* base[quads];
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) base[q] = x + 4 * q * reach.pixel;
    for (int step = 0; step < reach.steps; step += steps, weights += Columns * lanes * channels) {
      typename Step<T>::Weights w[Columns];
#pragma GCC unroll 4
      for (int c = 0; c < Columns; ++c) w[c] = Step<T>::load(weights + c * lanes * channels);
#pragma GCC unroll 14
      for (int p = 0; p < Pixels; ++p) {
        const T* at = base[p / 4] + p % 4 * reach.pixel;
        const auto value = Are == Lanes::inputs ? Step<T>::load(at) : Step<T>::broadcast(at);
#pragma GCC unroll 4
        for (int c = 0; c < Columns; ++c)
          sum[p * Columns + c] = Step<T>::add(sum[p * Columns + c], value, w[c]);
      }
#pragma GCC unroll 4
      for (int q = 0; q < quads; ++q) base[q] += steps * channels;
    }
  }
  if constexpr (Are == Lanes::outputs) {
#pragma GCC unroll 28
    for (int i = 0; i < count; ++i) kernels::store(sums + i * lanes, sum[i]);
  } else {
#pragma GCC unroll 3
    for (int i = 0; i < padded; i += lanes) {
      constexpr int half = lanes / 2;
      sum_lanes<half>(sum + i, std::make_integer_sequence<int, half>{});
      kernels::store(sums + i, sum[i]);
    }
  }
}

template <class T>
using SumTile = void (*)(const Reach&, const T*, const T*, float*);

constexpr int most_few = 4;  // output channels that are too few for lanes of them
constexpr int few_sums = lanes == 16 ? 24 : 12;  // that registers hold beside weights and values

/// sum_tile for 1, 2, ... pixels, as many as registers hold the sums of.
template <class T, Lanes Are, int Columns>
constexpr auto sum_tiles = []<int... P>(std::integer_sequence<int, P...>) {
  return std::array<SumTile<T>, sizeof...(P)>{sum_tile<T, Are, P + 1, Columns>...};
}
(std::make_integer_sequence<int, Are == Lanes::outputs ? most_pixels
                                                       : std::min(8, few_sums / Columns)>{});

template <class T>
struct Problem {
  ConvShape s;
  static constexpr int step = Step<T>::channels;
  int channels;  // of the input, as many as whole steps have
  int width;     // of a copied row

  explicit Problem(const ConvShape& shape)
      : s(shape),
        channels(round_up(s.c_in, step)),
        width((s.out_w() - 1) * s.stride_w + s.kernel_w) {}

  bool is_pointwise() const {
    return s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
           s.pad_h == 0 && s.pad_w == 0 && channels == s.c_in;
  }
  /// Whether there are few output channels, and the kernel's rows fill vectors.
  bool has_few_outputs() const {
    return s.c_out <= most_few && channels == s.c_in && s.kernel_w * s.c_in % (lanes * step) == 0;
  }
  int packed_outputs() const { return has_few_outputs() ? s.c_out : round_up(s.c_out, lanes); }
  /// Elements of the weights of one output channel.
  std::int64_t reach() const { return std::int64_t{s.kernel_h} * s.kernel_w * channels; }
  std::int64_t copied_row() const { return std::int64_t{width} * channels; }
  /// Input rows that `rows` output rows read.
  int rows_read(int rows) const { return (rows - 1) * s.stride_h + s.kernel_h; }

  /// Output rows of a band: as many as their input leaves room for in a core's cache, and few
  /// enough that every thread has a band.
  int band() const {
    constexpr std::int64_t cache_elements = (256 << 10) / sizeof(T);
    const std::int64_t fitting = (cache_elements / copied_row() - s.kernel_h) / s.stride_h + 1;
    const int shares = (onednn::threads() + s.n - 1) / s.n;
    const int fair = (s.out_h() + shares - 1) / shares;
    return static_cast<int>(std::clamp<std::int64_t>(fitting, 1, fair));
  }
  std::int64_t band_elements() const {
    return is_pointwise() ? 0 : (rows_read(band()) * copied_row() + 63) / 64 * 64;
  }
};

/// The input rows of output rows [first, first + rows) of an image, with zeros around.
template <class T>
void copy_band(const Problem<T>& problem, const T* image, int first, int rows, T* band) {
  const ConvShape& s = problem.s;
  const int left = s.pad_w, inside = std::min(s.w, problem.width - left);
  for (int i = 0; i < problem.rows_read(rows); ++i, band += problem.copied_row()) {
    const int y = first * s.stride_h + i - s.pad_h;
    if (y < 0 || y >= s.h) {
      std::fill_n(reinterpret_cast<std::byte*>(band), problem.copied_row() * sizeof(T),
                  std::byte{});
      continue;
    }
    const auto zero = [&](int from, int to) {
      std::memset(static_cast<void*>(band + from * problem.channels), 0,
                  std::int64_t{to - from} * problem.channels * sizeof(T));
    };
    const T* row = image + std::int64_t{y} * s.w * s.c_in;
    zero(0, left);
    zero(left + inside, problem.width);
    if (problem.channels == s.c_in) {
      std::memcpy(static_cast<void*>(band + left * s.c_in), row,
                  std::int64_t{inside} * s.c_in * sizeof(T));
      continue;
    }
    zero(left, left + inside);
    for (int x = 0; x < inside; ++x)
      std::memcpy(static_cast<void*>(band + (left + x) * problem.channels), row + x * s.c_in,
                  s.c_in * sizeof(T));
  }
}

/// The bias of the output channels of a tile, for each of its pixels.
struct Bias {
  alignas(64) float of[most_pixels * block] = {};

  Bias(const ConvForward& op, int channel, int count, int pixels) {
    if (!op.bias) return;
    for (int p = 0; p < pixels; ++p)
      std::copy_n(static_cast<const float*>(op.bias) + channel, count, of + p * count);
  }
};

/// What becomes of `count` sums that lie together: y from `element` on.
template <class T, class F>
void finish_run(const ConvForward& op, const float* sums, const float* bias, int count,
                std::int64_t element, F activation) {
  T* y = static_cast<T*>(op.y) + element;
  if (!op.residual) {
#pragma omp simd
    for (int i = 0; i < count; ++i) store(y[i], activation(sums[i] + bias[i]));
    return;
  }
  const T* residual = static_cast<const T*>(op.residual) + element;
#pragma omp simd
  for (int i = 0; i < count; ++i) store(y[i], activation(sums[i] + bias[i] + residual[i]));
}

/// Likewise of the sums of `pixels` pixels, `stride` apart, with `count` output channels each.
template <class T, class F>
void finish(const ConvForward& op, const float* sums, int stride, const Bias& bias, int pixels,
            int count, std::int64_t element, const F& activation) {
  if (stride == op.shape.c_out)
    return finish_run<T>(op, sums, bias.of, pixels * count, element, activation);
  for (int p = 0; p < pixels; ++p, sums += stride, element += op.shape.c_out)
    if (count == block)  // a constant for the compiler
      finish_run<T>(op, sums, bias.of, block, element, activation);
    else
      finish_run<T>(op, sums, bias.of, count, element, activation);
}

/// The tiles of all sizes for `packed_channels` output channels.
template <class T>
std::span<const SumTile<T>> tiles_for(const Problem<T>& problem, int packed_channels) {
  if (!problem.has_few_outputs()) {
    if (packed_channels == block) return sum_tiles<T, Lanes::outputs, vectors>;
    return sum_tiles<T, Lanes::outputs, 1>;
  }
  switch (packed_channels) {
    case 1:
      return sum_tiles<T, Lanes::inputs, 1>;
    case 2:
      return sum_tiles<T, Lanes::inputs, 2>;
    case 3:
      return sum_tiles<T, Lanes::inputs, 3>;
    default:
      return sum_tiles<T, Lanes::inputs, most_few>;
  }
}

/// `rows` rows of `width` output pixels each: their input begins at x, `x_row` elements apart, and
/// they lie one after the other from `element` of y on.
template <class T, class F>
void convolve(const ConvForward& op, const Problem<T>& problem, const Reach& reach, const T* x,
              std::int64_t x_row, int rows, int width, std::int64_t element, const F& activation) {
  alignas(64) float sums[most_pixels * block];
  const int c_out = problem.s.c_out;
  for (int channel = 0; channel < c_out; channel += block) {
    const int packed_channels = std::min(block, problem.packed_outputs() - channel);
    const std::span<const SumTile<T>> sum = tiles_for(problem, packed_channels);
    const int most = static_cast<int>(sum.size()), tiles = (width + most - 1) / most;
    const int tile = (width + tiles - 1) / tiles;
    const int outputs = std::min(packed_channels, c_out - channel);
    const Bias bias(op, channel, outputs, tile);
    const T* weights = static_cast<const T*>(op.packed) + channel * problem.reach();
    for (int row = 0; row < rows; ++row)
      for (int first = 0; first < width; first += tile) {
        const int pixels = std::min(tile, width - first);
        sum[pixels - 1](reach, x + row * x_row + first * reach.pixel, weights, sums);
        finish<T>(op, sums, packed_channels, bias, pixels, outputs,
                  element + (std::int64_t{row} * width + first) * c_out + channel, activation);
      }
  }
}

template <class T, class F>
void run(const ConvForward& op, const Problem<T>& problem, const F& activation) {
  const ConvShape& s = problem.s;
  const auto* x = static_cast<const T*>(op.x);
  const int steps = s.kernel_w * problem.channels / Step<T>::channels;
  if (problem.is_pointwise()) {
    const std::int64_t pixels = std::int64_t{s.n} * s.h * s.w;
    constexpr std::int64_t most_run = 8 * most_pixels;
    const std::int64_t threads = onednn::threads();
    const std::int64_t runs =
        ((pixels + most_run - 1) / most_run + threads - 1) / threads * threads;
    const std::int64_t run_of_pixels = (pixels + runs - 1) / runs;
    parallel_for((pixels + run_of_pixels - 1) / run_of_pixels,
                 run_of_pixels * s.c_in * s.c_out / lanes, [&](std::int64_t i) {
                   const std::int64_t first = i * run_of_pixels;
                   convolve<T>(op, problem, {1, steps, s.c_in, 0}, x + first * s.c_in, 0, 1,
                               static_cast<int>(std::min(run_of_pixels, pixels - first)),
                               first * s.c_out, activation);
                 });
    return;
  }
  const Reach reach{s.kernel_h, steps, std::int64_t{s.stride_w} * problem.channels,
                    problem.copied_row()};
  const int band = problem.band(), height = s.out_h();
  const int bands = (height + band - 1) / band;
  onednn::for_each_slot(
      std::int64_t{s.n} * bands, [&](std::int64_t slot, std::int64_t begin, std::int64_t end) {
        T* copy = static_cast<T*>(op.workspace) + slot * problem.band_elements();
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t image = i / bands;
          const int first = static_cast<int>(i % bands) * band;
          const int rows = std::min(band, height - first);
          copy_band(problem, x + image * s.h * s.w * s.c_in, first, rows, copy);
          convolve<T>(op, problem, reach, copy, s.stride_h * problem.copied_row(), rows, s.out_w(),
                      (image * height + first) * s.out_w() * s.c_out, activation);
        }
      });
}

/// Calls f(Problem<T>).
template <class F>
auto with_problem(const ConvForward& op, F&& f) {
#ifdef __AVX512BF16__
  if (op.type == DType::bf16) return f(Problem<bf16>(op.shape));
#endif
  return f(Problem<float>(op.shape));
}

template <class T>
void pack(const Problem<T>& problem, const T* weight, T* packed) {
  const ConvShape& s = problem.s;
  constexpr int step = Step<T>::channels;
  const std::int64_t taps = std::int64_t{s.kernel_h} * s.kernel_w;
  if (problem.has_few_outputs()) {
    const int row = s.kernel_w * s.c_in;  // of a kernel
    for (int y = 0; y < s.kernel_h; ++y)
      for (int first = 0; first < row; first += lanes * step)
        for (int out = 0; out < s.c_out; ++out)
          for (int at = first; at < first + lanes * step; ++at)
            *packed++ = weight[(out * taps + y * s.kernel_w) * s.c_in + at];
    return;
  }
  parallel_for((s.c_out + block - 1) / block, block * problem.reach(), [&](std::int64_t b) {
    const int channel = static_cast<int>(b) * block;
    const int outputs = std::min(block, problem.packed_outputs() - channel);
    T* to = packed + channel * problem.reach();
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (int in = 0; in < problem.channels; in += step)
        for (int out = channel; out < channel + outputs; ++out)
          for (int i = in; i < in + step; ++i)
            *to++ = out < s.c_out && i < s.c_in ? weight[(out * taps + tap) * s.c_in + i] : T(0.0F);
  });
}

}  // namespace

bool fits(const ConvForward& op) {
  const ConvShape& s = op.shape;
  return s.d == 1 && s.kernel_d == 1 && s.pad_d == 0 &&
         (op.type == DType::f32 || (op.type == DType::bf16 && has_bf16));
}

std::size_t packed_bytes(const ConvForward& op) {
  return with_problem(op, [&](const auto& problem) {
    return problem.packed_outputs() * problem.reach() * size_of(op.type);
  });
}

void pack(const ConvForward& op, void* packed) {
  with_problem(op, [&]<class T>(const Problem<T>& problem) {
    pack(problem, static_cast<const T*>(op.weight), static_cast<T*>(packed));
  });
}

std::size_t workspace_bytes(const ConvForward& op) {
  return with_problem(op, [&](const auto& problem) {
    return onednn::threads() * problem.band_elements() * size_of(op.type);
  });
}

void run(const ConvForward& op) {
  with_problem(op, [&]<class T>(const Problem<T>& problem) {
    with_activation(op.activation, op.slope,
                    [&](auto activation) { run(op, problem, activation); });
  });
}

}  // namespace anaphase::kernels::direct
