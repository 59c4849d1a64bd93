// SPDX-License-Identifier: Apache-2.0
#pragma once

// A convolution, and its gradient with respect to the input, as a product of matrices whose left
// factor is gathered from memory and never made (Chetlur et al., "cuDNN: efficient primitives for
// deep learning", arXiv:1410.0759):
//
//   output[row, column] = sum over inner of source[row, inner] * weight[inner, column]
//
//   forward          row: a pixel of y,  column: c_out, inner: (tap, c_in),  source: x
//   input gradient   row: a pixel of dx, column: c_in,  inner: (tap, c_out), source: dy
//
// On each axis row r meets, at tap t, the source's element r * step + origin + t (forward), or
// r + origin - t (gradient). With a stride s, pixel i of dx meets only the taps k for which
// i + pad - k is a multiple of s. So the gradient falls into s phases an axis, each with its own
// pixels and its own taps, of which none is wasted: a View each, computed side by side.

#include <algorithm>
#include <type_traits>
#include <vector>

#include "kernels/common/gpu/activation.cuh"
#include "kernels/common/gpu/divide.cuh"
#include "kernels/common/gpu/vector.cuh"
#include "kernels/conv/conv.hpp"

namespace anaphase::kernels {
inline namespace ANAPHASE_GPU_BUILD {
namespace implicit_gemm {

enum class Direction { forward, input_gradient };

template <class Operation>
inline constexpr Direction direction_of =
    std::is_same_v<Operation, ConvForward> ? Direction::forward : Direction::input_gradient;

/// One axis of a view.
struct Axis {
  int rows = 0, taps = 0;
  int source = 0;                         // extent
  int step = 1, origin = 0;               // of the source's elements, see above
  int first_tap = 0, tap_step = 1;        // tap t is the kernel's first_tap + t * tap_step
  int first_output = 0, output_step = 1;  // row r is element first_output + r * output_step ...
  int outputs = 0;                        // ... of so many
};

inline Axis forward_axis(int extent, int out, int kernel, int stride, int pad) {
  return {.rows = out,
          .taps = kernel,
          .source = extent,
          .step = stride,
          .origin = -pad,
          .outputs = out};
}

/// The elements i of dx with (i + pad) % stride == phase.
inline Axis gradient_axis(int extent, int out, int kernel, int stride, int pad, int phase) {
  const int first = ((phase - pad) % stride + stride) % stride;
  const auto count = [&](int end, int begin) {
    return begin < end ? (end - begin - 1) / stride + 1 : 0;
  };
  return {.rows = count(extent, first),
          .taps = count(kernel, phase),
          .source = out,
          .origin = (first + pad - phase) / stride,
          .first_tap = phase,
          .tap_step = stride,
          .first_output = first,
          .output_step = stride,
          .outputs = extent};
}

/// A row: the source's element at tap 0, which may lie outside, and its number as a pixel.
struct Row {
  int pixel, d, h, w;
};

/// An index tap * channels + channel, taken apart.
struct Inner {
  int channel, d, h, w;
};

/// A product of matrices, or the part of one that has a phase.
struct View {
  Axis d, h, w;
  int rows = 0, columns = 0, channels = 0;  // channels: of the source
  int inner = 0;                            // taps * channels
  int kernel_h = 1, kernel_w = 1, kernel_taps = 1;
  Divisor d_rows{1}, h_rows{1}, w_rows{1};

  View() = default;
  View(const ConvShape& s, const Axis& d_, const Axis& h_, const Axis& w_, int columns_,
       int channels_)
      : d(d_),
        h(h_),
        w(w_),
        rows(s.n * d.rows * h.rows * w.rows),
        columns(columns_),
        channels(channels_),
        inner(d.taps * h.taps * w.taps * channels),
        kernel_h(s.kernel_h),
        kernel_w(s.kernel_w),
        kernel_taps(s.kernel_d * s.kernel_h * s.kernel_w),
        d_rows(std::max(d.rows, 1)),
        h_rows(std::max(h.rows, 1)),
        w_rows(std::max(w.rows, 1)) {
    if (inner == 0) d.taps = 0;  // so that no Inner is part of it
  }

  /// Row r; one that holds nothing where there is no such row.
  __device__ Row row(int r) const {
    if (r >= rows) return {0, -(1 << 30), 0, 0};
    const int x = w_rows.split_off(r) * w.step + w.origin;
    const int y = h_rows.split_off(r) * h.step + h.origin;
    const int z = d_rows.split_off(r) * d.step + d.origin;
    return {((r * d.source + z) * h.source + y) * w.source + x, z, y, x};
  }

  /// The pixel of the output that row r is.
  __device__ std::int64_t output_pixel(int r) const {
    const int x = w_rows.split_off(r) * w.output_step + w.first_output;
    const int y = h_rows.split_off(r) * h.output_step + h.first_output;
    const int z = d_rows.split_off(r) * d.output_step + d.first_output;
    return ((static_cast<std::int64_t>(r) * d.outputs + z) * h.outputs + y) * w.outputs + x;
  }

  /// Of a view that has taps.
  __device__ Inner inner_at(int index) const {
    const int tap = index / channels, plane = h.taps * w.taps;
    return {index % channels, tap / plane, tap % plane / w.taps, tap % w.taps};
  }

  __device__ void advance(Inner& at, int step) const {
    at.channel += step;
    while (at.channel >= channels) {
      at.channel -= channels;
      if (++at.w < w.taps) continue;
      at.w = 0;
      if (++at.h < h.taps) continue;
      at.h = 0;
      ++at.d;
    }
  }
  __device__ bool has(const Inner& at) const { return at.d < d.taps; }

  /// Whether the source has an element there; it is zero elsewhere.
  template <Direction D>
  __device__ bool holds(const Row& row, const Inner& at) const {
    const auto inside = [](int position, int tap, int extent) {
      const int element = D == Direction::forward ? position + tap : position - tap;
      return static_cast<unsigned>(element) < static_cast<unsigned>(extent);
    };
    return has(at) && inside(row.d, at.d, d.source) && inside(row.h, at.h, h.source) &&
           inside(row.w, at.w, w.source);
  }
  template <Direction D>
  __device__ std::int64_t source_index(int pixel, const Inner& at) const {
    const int taps = (at.d * h.source + at.h) * w.source + at.w;
    return static_cast<std::int64_t>(D == Direction::forward ? pixel + taps : pixel - taps) *
               channels +
           at.channel;
  }

  template <Direction D>
  __device__ std::int64_t weight_index(const Inner& at, int column) const {
    const int z = d.first_tap + at.d * d.tap_step, y = h.first_tap + at.h * h.tap_step,
              x = w.first_tap + at.w * w.tap_step;
    const int tap = (z * kernel_h + y) * kernel_w + x;
    if (D == Direction::forward)
      return (static_cast<std::int64_t>(column) * kernel_taps + tap) * channels + at.channel;
    return (static_cast<std::int64_t>(at.channel) * kernel_taps + tap) * columns + column;
  }
};

/// All views of an operation.
inline std::vector<View> views_of(const ConvForward& op) {
  const ConvShape& s = op.shape;
  return {View(s, forward_axis(s.d, s.out_d(), s.kernel_d, s.stride_d, s.pad_d),
               forward_axis(s.h, s.out_h(), s.kernel_h, s.stride_h, s.pad_h),
               forward_axis(s.w, s.out_w(), s.kernel_w, s.stride_w, s.pad_w), s.c_out, s.c_in)};
}
inline std::vector<View> views_of(const ConvInputGradient& op) {
  const ConvShape& s = op.shape;
  std::vector<View> all;
  for (int z = 0; z < s.stride_d; ++z)
    for (int y = 0; y < s.stride_h; ++y)
      for (int x = 0; x < s.stride_w; ++x)
        all.emplace_back(s, gradient_axis(s.d, s.out_d(), s.kernel_d, s.stride_d, s.pad_d, z),
                         gradient_axis(s.h, s.out_h(), s.kernel_h, s.stride_h, s.pad_h, y),
                         gradient_axis(s.w, s.out_w(), s.kernel_w, s.stride_w, s.pad_w, x), s.c_in,
                         s.c_out);
  return all;
}

/// The views that one launch computes.
template <Direction D>
struct Views {
  static constexpr int most = D == Direction::forward ? 1 : 8;
  View view[most];
  int count = 0;

  int rows() const {
    int rows = 0;
    for (int i = 0; i < count; ++i) rows = std::max(rows, view[i].rows);
    return rows;
  }
  __device__ const View& operator[](int i) const { return view[D == Direction::forward ? 0 : i]; }
};

/// f(views) for all views of an operation: of strides up to 2 in three dimensions, one call.
template <class Operation, class F>
void for_each_launch(const Operation& op, F&& f) {
  Views<direction_of<Operation>> views;
  const auto flush = [&] {
    if (views.rows() > 0) f(views);
    views.count = 0;
  };
  for (const View& view : views_of(op)) {
    views.view[views.count++] = view;
    if (views.count == views.most) flush();
  }
  flush();
}

// ---- The end of a sum ---------------------------------------------------------------------------

/// N elements as floats, zeros from the `count`th on; at once where they are aligned and all there.
template <int N, class T>
__device__ Vector<float, N> load_some(const T* from, int count, bool aligned) {
  if (aligned && count >= N) return load_float<N>(from);
  Vector<float, N> value{};
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < count) value[i] = static_cast<float>(from[i]);
  return value;
}

template <int N, class T>
__device__ void store_some(T* to, const Vector<float, N>& value, int count, bool aligned) {
  if (aligned && count >= N) return store_float(to, value);
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i < count) to[i] = T(value[i]);
}

/// What becomes of the sums of a row: activation(sums + bias + residual), rounded once.
template <class T>
struct Output {
  int columns;
  const float* bias;  // may be null, as may
  const T* residual;  // this one; may be y
  ActivationParameters activation;
  T* y;

  template <int N>
  __device__ void put(std::int64_t pixel, int column, Vector<float, N> sums) const {
    const int count = columns - column;
    if (count <= 0) return;
    const bool aligned = columns % N == 0;
    const std::int64_t at = pixel * columns + column;
    const auto add = [&](const Vector<float, N>& other) {
#pragma unroll
      for (int i = 0; i < N; ++i) sums[i] += other[i];
    };
    if (bias) add(load_some<N>(bias + column, count, aligned));
    if (residual) add(load_some<N>(residual + at, count, aligned));
    if (activation.kind != Activation::none) {
#pragma unroll
      for (int i = 0; i < N; ++i) sums[i] = activate(activation, sums[i]);
    }
    store_some(y + at, sums, count, aligned);
  }
};

/// What the kernels of both directions take.
template <class T>
struct Arguments {
  const T* source;
  const T* weight;
  Output<T> output;
};

template <class T>
Arguments<T> arguments_of(const ConvForward& op) {
  return {static_cast<const T*>(op.x),
          static_cast<const T*>(op.weight),
          {op.shape.c_out,
           static_cast<const float*>(op.bias),
           static_cast<const T*>(op.residual),
           {op.activation, op.slope},
           static_cast<T*>(op.y)}};
}
template <class T>
Arguments<T> arguments_of(const ConvInputGradient& op) {
  return {static_cast<const T*>(op.dy),
          static_cast<const T*>(op.weight),
          {op.shape.c_in, nullptr, nullptr, {}, static_cast<T*>(op.dx)}};
}

}  // namespace implicit_gemm
}  // namespace ANAPHASE_GPU_BUILD
}  // namespace anaphase::kernels
