// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/winograd_cpu.hpp"

#include <algorithm>
#include <utility>

#include "kernels/activation/activation_math.hpp"
#include "kernels/common/onednn.hpp"
#include "kernels/conv/winograd_tiles.hpp"

// Work is cut into groups of tiles whose transformed values stay in a core's cache between the
// transforms and the products. All lanes of a vector are channels, so tiles at the border of the
// image cost nothing but zeros.

namespace anaphase::kernels::winograd {
namespace {

/// A^T m: 6 values to 4.
template <int In, int Out>
void transform_output(const Vector* m, Vector* y) {
  const Vector a = m[In] + m[2 * In], b = m[In] - m[2 * In];
  const Vector c = m[3 * In] + m[4 * In], e = m[3 * In] - m[4 * In];
  y[0] = m[0] + a + c;
  y[Out] = b + 2 * e;
  y[2 * Out] = a + 4 * c;
  y[3 * Out] = b + 8 * e + m[5 * In];
}

/// G g: 3 values to 6.
template <int In, int Out>
void transform_kernel(const Vector* g, Vector* u) {
  const Vector a = (g[0] + g[2 * In]) * (-1.0F / 6), b = g[In] * (-1.0F / 6);
  const Vector c = g[0] * (1.0F / 24) + g[2 * In] * (1.0F / 6), e = g[In] * (1.0F / 12);
  u[0] = g[0] * 0.25F;
  u[Out] = a + b;
  u[2 * Out] = a - b;
  u[3 * Out] = c + e;
  u[4 * Out] = c - e;
  u[5 * Out] = g[2 * In];
}

/// The three tensors of a convolution as the transforms see them.
struct Problem {
  Tiles tiles;
  int c_in, c_out;  // of the products: those that are summed over, and those that come out

  std::int64_t kernel_floats() const { return std::int64_t{points} * c_in * c_out; }
  /// Tiles transformed together at most: as many as a core's cache holds beside the kernels; many
  /// where the kernels do not fit, so that they are read few times.
  std::int64_t most_tiles() const {
    constexpr bool large = lanes == 16;  // caches of the processors that this was measured on
    constexpr std::int64_t cache_floats = (large ? 192 : 96) << 10, most = large ? 96 : 48;
    if (kernel_floats() > cache_floats) return most;
    return std::clamp((cache_floats - kernel_floats()) / (points * (c_in + c_out)), least_tiles,
                      most);
  }

  /// The work of a thread at a time: a group of tiles and, where there are too few tiles for all
  /// threads, a part of the output channels.
  struct Cut {
    std::int64_t group, groups;
    int parts, channels;  // output channels of a part

    // Matrices a multiple of a page apart would share the sets of a cache.
    std::int64_t apart_in(int channels_in) const { return group * channels_in + lanes; }
    std::int64_t apart_out() const { return group * channels + lanes; }
  };
  Cut cut() const {
    constexpr int least_channels = 32;
    const std::int64_t threads = onednn::threads();
    std::int64_t groups = divide_up(tiles.count, most_tiles());
    int parts = 1;
    if (tiles.count >= least_tiles * threads)
      groups = divide_up(groups, threads) * threads;
    else
      parts = static_cast<int>(
          std::clamp<std::int64_t>(threads / groups, 1, divide_up(c_out, least_channels)));
    const std::int64_t group = divide_up(tiles.count, groups);
    const auto channels =
        static_cast<int>(divide_up(divide_up(c_out, parts), column_multiple) * column_multiple);
    return {group, divide_up(tiles.count, group), static_cast<int>(divide_up(c_out, channels)),
            channels};
  }
  std::int64_t cut_floats() const {
    const Cut cut = this->cut();
    return points * (cut.apart_in(c_in) + cut.apart_out());
  }

  static constexpr std::int64_t least_tiles = 24;
  static std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
};

Problem problem_of(const ConvForward& op) {
  const ConvShape& s = op.shape;
  return {{s.n, s.h, s.w, s.out_h(), s.out_w(), s.pad_h, s.pad_w}, s.c_in, s.c_out};
}

/// dx is the convolution of dy with the kernels turned by 180 degrees.
Problem problem_of(const ConvInputGradient& op) {
  const ConvShape& s = op.shape;
  return {{s.n, s.out_h(), s.out_w(), s.h, s.w, 2 - s.pad_h, 2 - s.pad_w}, s.c_out, s.c_in};
}

/// The output channels of transformed kernels come in panels, each a matrix [in][channels of the
/// panel] that a product reads from one end to the other.
constexpr int panel_channels = detail::panel_vectors * lanes;

struct Panel {
  int first, channels;
  Panel(const Problem& problem, int channel)
      : first(channel / panel_channels * panel_channels),
        channels(std::min(panel_channels, problem.c_out - first)) {}
  /// The place of (in, out) in the matrices of a point.
  std::int64_t at(const Problem& problem, std::int64_t in, int out) const {
    return std::int64_t{first} * problem.c_in + in * channels + (out - first);
  }
};

/// U[p], in panels, of kernels whose element (in, i, j, out) is at `weight(in, i, j, out)`.
template <class Weight>
void transform_kernels(const Problem& problem, Weight&& weight, float* u) {
  const std::int64_t apart = std::int64_t{problem.c_in} * problem.c_out;
  // Blocks of channels, because neighbours in memory are those of one or of the other.
  parallel_for(problem.c_in / lanes, std::int64_t{lanes} * points * problem.c_out,
               [&](std::int64_t block) {
                 for (int out = 0; out < problem.c_out; out += lanes)
                   for (std::int64_t in = block * lanes; in < (block + 1) * lanes; ++in) {
                     Vector half[inputs * 3], all[points];
                     for (int j = 0; j < 3; ++j) {
                       Vector g[3];
                       for (int i = 0; i < 3; ++i) {
                         float values[lanes];
                         for (int l = 0; l < lanes; ++l) values[l] = weight(in, i, j, out + l);
                         g[i] = load(values);
                       }
                       transform_kernel<1, 3>(g, half + j);
                     }
                     for (int i = 0; i < inputs; ++i)
                       transform_kernel<1, 1>(half + i * 3, all + i * inputs);
                     scatter(all, u + Panel(problem, out).at(problem, in, out), apart);
                   }
               });
}

/// The outputs of tiles [begin, end), channels [first, first + channels), of their sums `m`, whose
/// matrices begin `apart` elements from one another.
template <class T, class Finish>
void finish_tiles(const Problem& problem, std::int64_t begin, std::int64_t end, int first,
                  int channels, std::int64_t apart, const float* m, const Finish& finish, T* y) {
  const Tiles& tiles = problem.tiles;
  const std::int64_t pixel = problem.c_out, row = tiles.out_width * pixel;
  Tiles::Place place = tiles.at(begin);
  for (std::int64_t tile = begin; tile < end; ++tile, place = tiles.after(place)) {
    const Window window{place.row, place.column, tiles.out_height, tiles.out_width};
    const std::int64_t corner =
        (place.image * tiles.out_height * tiles.out_width + window.pixel(0, 0)) * pixel + first;
    for (int c = 0; c < channels; c += lanes) {
      Vector half[outputs * inputs];
      const float* from = m + (tile - begin) * channels + c;
      for (int j = 0; j < inputs; ++j) {
        Vector column[inputs];
        for (int i = 0; i < inputs; ++i) column[i] = load(from + (i * inputs + j) * apart);
        transform_output<1, inputs>(column, half + j);
      }
      const auto finished = finish(first + c);
      const auto put = [&](auto&& has) {
        for (int i = 0; i < outputs; ++i) {
          Vector sums[outputs];
          transform_output<1, 1>(half + i * inputs, sums);
          for (int j = 0; j < outputs; ++j) {
            if (!has(i, j)) continue;
            const std::int64_t element = corner + c + i * row + j * pixel;
            store(y + element, finished(sums[j], element));
          }
        }
      };
      if (window.is_inside())
        put([](int, int) { return true; });
      else
        put([&](int i, int j) { return window.has(i, j); });
    }
  }
}

/// y = convolution of x with the transformed kernels u; finish(channel)(sums, element) makes what
/// is stored at that element of y of the sums of the channels from `channel` on.
template <class T, class Finish>
void convolve(const Problem& problem, const T* x, const float* u, float* scratch,
              const Finish& finish, T* y) {
  const Tiles& tiles = problem.tiles;
  const int c_in = problem.c_in, c_out = problem.c_out;
  const Problem::Cut cut = problem.cut();
  const std::int64_t apart_in = cut.apart_in(c_in), apart_out = cut.apart_out();
  onednn::for_each_slot(
      cut.groups * cut.parts, [&](std::int64_t slot, std::int64_t first, std::int64_t last) {
        float* v = scratch + slot * problem.cut_floats();
        float* m = v + points * apart_in;
        std::int64_t transformed = -1;  // the group that is in v
        for (std::int64_t item = first; item < last; ++item) {
          const std::int64_t group = item / cut.parts, begin = group * cut.group;
          const std::int64_t end = std::min(tiles.count, begin + cut.group);
          const int channel = static_cast<int>(item % cut.parts) * cut.channels;
          const int channels = std::min(cut.channels, c_out - channel);
          if (std::exchange(transformed, group) != group)
            transform_inputs(tiles, x, c_in, begin, end, apart_in, v);
          for (int p = 0; p < points; ++p)
            for (int c = channel; c < channel + channels;) {
              const Panel panel(problem, c);
              const int next = std::min(panel.first + panel.channels, channel + channels);
              multiply({.m = static_cast<int>(end - begin),
                        .n = next - c,
                        .k = c_in,
                        .a = v + p * apart_in,
                        .a_row = c_in,
                        .a_column = 1,
                        .b = u + std::int64_t{p} * c_in * c_out + panel.at(problem, 0, c),
                        .b_row = panel.channels,
                        .c = m + p * apart_out + (c - channel),
                        .c_row = channels});
              c = next;
            }
          finish_tiles(problem, begin, end, channel, channels, apart_out, m, finish, y);
        }
      });
}

std::size_t convolve_bytes(const Problem& problem) {
  return sizeof(float) * (problem.kernel_floats() + onednn::threads() * problem.cut_floats());
}

bool fits(const ConvShape& s) {
  return s.d == 1 && s.kernel_d == 1 && s.pad_d == 0 && s.kernel_h == 3 && s.kernel_w == 3 &&
         s.stride_h == 1 && s.stride_w == 1 && s.pad_h <= 2 && s.pad_w <= 2 &&
         s.c_in % column_multiple == 0 && s.c_out % column_multiple == 0;
}

/// Tiles of one image. The number of images does not count: bits must not depend on the batch.
std::int64_t tiles_of(const ConvShape& s) {
  return Tiles(1, s.h, s.w, s.out_h(), s.out_w(), 0, 0).count;
}

/// Whether an image has tiles enough for the kernels' transform, which costs as much as some tiles.
bool has_many_tiles(const ConvShape& s) {
  return tiles_of(s) >= 16 && tiles_of(s) * 8 >= std::max(s.c_in, s.c_out);
}

}  // namespace

// Bounds as measured against direct convolutions (benchmarks/kernels/conv_bench.cpp). For bf16 they
// are higher: the direct sum's products are twice as fast then, and its kernels an eighth of the
// bytes.

bool pays(const ConvForward& op) {
  const ConvShape& s = op.shape;
  return fits(s) && has_many_tiles(s) && std::min(s.c_in, s.c_out) >= 32 &&
         (op.type == DType::f32 || tiles_of(s) >= 64);
}

bool pays_packed(const ConvForward& op) {
  const ConvShape& s = op.shape;
  constexpr int least_tiles = lanes == 16 ? 16 : 4;  // reading the kernels costs the same with both
  if (!fits(s) || tiles_of(s) < least_tiles) return false;
  return op.type == DType::f32 || (std::min(s.c_in, s.c_out) >= 32 && tiles_of(s) >= 64);
}

bool pays(const ConvInputGradient& op) {
  const ConvShape& s = op.shape;
  return fits(s) && has_many_tiles(s) &&
         (op.type == DType::f32 || (std::min(s.c_in, s.c_out) >= 32 && tiles_of(s) >= 64));
}

bool pays(const ConvWeightGradient& op) {
  const ConvShape& s = op.shape;
  return op.type == DType::f32 && fits(s) && has_many_tiles(s) && s.c_in * s.c_out > 32 * 32;
}

std::size_t workspace_bytes(const ConvForward& op) {
  const std::size_t all = convolve_bytes(problem_of(op));
  return op.packed ? all - packed_bytes(op) : all;
}

std::size_t packed_bytes(const ConvForward& op) {
  return sizeof(float) * problem_of(op).kernel_floats();
}

void pack(const ConvForward& op, void* packed) {
  with_cpu_type(op.type, [&]<class T>(T) {
    const auto* weight = static_cast<const T*>(op.weight);
    const std::int64_t c_in = op.shape.c_in;
    transform_kernels(
        problem_of(op),
        [&](std::int64_t in, int i, int j, std::int64_t out) {
          return static_cast<float>(weight[((out * 3 + i) * 3 + j) * c_in + in]);
        },
        static_cast<float*>(packed));
  });
}

std::size_t workspace_bytes(const ConvInputGradient& op) {
  return convolve_bytes(problem_of(op));
}

namespace {

template <class T>
void run_forward(const ConvForward& op) {
  const Problem problem = problem_of(op);
  auto* scratch = static_cast<float*>(op.workspace);
  const auto* u = static_cast<const float*>(op.packed);
  if (!u) {
    pack(op, scratch);
    u = std::exchange(scratch, scratch + problem.kernel_floats());
  }
  const auto* bias = static_cast<const float*>(op.bias);
  const auto* residual = static_cast<const T*>(op.residual);
  with_activation(op.activation, op.slope, [&](auto activation) {
    const auto finish = [=](int channel) {
      const Vector shift = bias ? load(bias + channel) : Vector{};
      return [=](Vector value, std::int64_t element) {
        value += shift;
        if (residual) value += load(residual + element);
#pragma omp simd
        for (int l = 0; l < lanes; ++l) value[l] = activation(value[l]);
        return value;
      };
    };
    convolve(problem, static_cast<const T*>(op.x), u, scratch, finish, static_cast<T*>(op.y));
  });
}

}  // namespace

void run(const ConvForward& op) {
  with_cpu_type(op.type, [&]<class T>(T) { run_forward<T>(op); });
}

namespace {

template <class T>
void run_input_gradient(const ConvInputGradient& op) {
  const Problem problem = problem_of(op);
  const auto* weight = static_cast<const T*>(op.weight);
  auto* u = static_cast<float*>(op.workspace);
  const std::int64_t c_in = op.shape.c_in;
  transform_kernels(
      problem,
      [&](std::int64_t in, int i, int j, std::int64_t out) {
        return static_cast<float>(weight[((in * 3 + 2 - i) * 3 + 2 - j) * c_in + out]);
      },
      u);
  convolve(
      problem, static_cast<const T*>(op.dy), u, u + problem.kernel_floats(),
      [](int) { return [](const Vector& value, std::int64_t) { return value; }; },
      static_cast<T*>(op.dx));
}

}  // namespace

void run(const ConvInputGradient& op) {
  with_cpu_type(op.type, [&]<class T>(T) { run_input_gradient<T>(op); });
}

}  // namespace anaphase::kernels::winograd
