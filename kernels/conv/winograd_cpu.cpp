// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/winograd_cpu.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/activation/activation_math.hpp"
#include "kernels/common/matrix_product.hpp"
#include "kernels/common/onednn.hpp"

// Work is cut into groups of tiles whose transformed values stay in a core's cache between the
// transforms and the products. All lanes of a vector are channels, so tiles at the border of the
// image cost nothing but zeros.

namespace anaphase::kernels::winograd {
namespace {

using detail::lanes;
using detail::Vector;

constexpr int outputs = 4;           // of a tile, along each side
constexpr int inputs = outputs + 2;  // likewise
constexpr int points = inputs * inputs;

Vector load(const float* from) {
  return *reinterpret_cast<const Vector*>(from);
}
void store(float* to, const Vector& value) {
  *reinterpret_cast<Vector*>(to) = value;
}

// The same for bf16 in memory, rounded as bf16(float) does.
using Halves [[gnu::vector_size(lanes * sizeof(bf16)), gnu::aligned(2), gnu::may_alias]] =
    std::uint16_t;
using Words [[gnu::vector_size(lanes * sizeof(float))]] = std::uint32_t;

Vector load(const bf16* from) {
  const Halves upper = *reinterpret_cast<const Halves*>(from);
  return (Vector)(__builtin_convertvector(upper, Words) << 16);
}
void store(bf16* to, const Vector& value) {
  const Words u = (Words)value;
  const Words rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  const Words upper = (u & 0x7fffffff) > 0x7f800000 ? (u >> 16) | 0x40 : rounded;  // NaN stays NaN
  *reinterpret_cast<Halves*>(to) = __builtin_convertvector(upper, Halves);
}

// The transforms of one row or column, for the points 0, 1, -1, 2, -2 and infinity. `Stride` is the
// distance between neighbouring elements in both arrays.

/// B^T d.
template <int In, int Out>
void transform_input(const Vector* d, Vector* v) {
  const Vector a = d[4 * In] - 4 * d[2 * In], b = d[3 * In] - 4 * d[In];
  const Vector c = d[4 * In] - d[2 * In], e = 2 * (d[3 * In] - d[In]);
  v[0] = 4 * d[0] - 5 * d[2 * In] + d[4 * In];
  v[Out] = a + b;
  v[2 * Out] = a - b;
  v[3 * Out] = c + e;
  v[4 * Out] = c - e;
  v[5 * Out] = 4 * d[In] - 5 * d[3 * In] + d[5 * In];
}

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

/// The transform of 4 output gradients that makes the products those of F(3x3, 4x4): the rows of G
/// continued to the third power.
template <int In, int Out>
void transform_gradient(const Vector* g, Vector* w) {
  const Vector a = (g[0] + g[2 * In]) * (-1.0F / 6), b = (g[In] + g[3 * In]) * (-1.0F / 6);
  const Vector c = g[0] * (1.0F / 24) + g[2 * In] * (1.0F / 6);
  const Vector e = g[In] * (1.0F / 12) + g[3 * In] * (1.0F / 3);
  w[0] = g[0] * 0.25F;
  w[Out] = a + b;
  w[2 * Out] = a - b;
  w[3 * Out] = c + e;
  w[4 * Out] = c - e;
  w[5 * Out] = g[3 * In];
}

/// The output transform of F(3x3, 4x4): 6 values to 3.
template <int In, int Out>
void transform_to_kernel(const Vector* m, Vector* g) {
  const Vector a = m[In] + m[2 * In], b = m[In] - m[2 * In];
  const Vector c = m[3 * In] + m[4 * In], e = m[3 * In] - m[4 * In];
  g[0] = m[0] + a + c;
  g[Out] = b + 2 * e;
  g[2 * Out] = a + 4 * c + m[5 * In];
}

/// The tiles of all images, numbered through; tile (i, j) makes outputs from (4 i, 4 j) on.
struct Tiles {
  int height, width;  // of the image that the tiles read
  int out_height, out_width;
  int pad_h, pad_w;
  int rows, columns;  // of tiles in an image
  std::int64_t count;

  Tiles(int n, int h, int w, int out_h, int out_w, int padding_h, int padding_w)
      : height(h),
        width(w),
        out_height(out_h),
        out_width(out_w),
        pad_h(padding_h),
        pad_w(padding_w),
        rows((out_h + outputs - 1) / outputs),
        columns((out_w + outputs - 1) / outputs),
        count(std::int64_t{n} * rows * columns) {}

  struct Place {
    std::int64_t image;
    int row, column;  // of the first output
  };
  Place at(std::int64_t tile) const {
    const std::int64_t image = tile / (rows * columns);
    const int within = static_cast<int>(tile % (rows * columns));
    return {image, within / columns * outputs, within % columns * outputs};
  }
};

/// The window of `Side` x `Side` pixels from (row, column) on, where it may leave the image.
template <int Side>
struct Window {
  int row, column, height, width;

  bool is_inside() const {
    return row >= 0 && column >= 0 && row + Side <= height && column + Side <= width;
  }
  bool has(int i, int j) const {
    return row + i >= 0 && row + i < height && column + j >= 0 && column + j < width;
  }
  std::int64_t pixel(int i, int j) const { return std::int64_t{row + i} * width + column + j; }
};

/// Calls body(value) with value(i, j) = the vector of the window's pixel (i, j), zero outside.
template <int Side, class T, class Body>
void with_pixels(const Window<Side>& window, const T* image, int channels, Body&& body) {
  const auto inside = [&](int i, int j) { return load(image + window.pixel(i, j) * channels); };
  if (window.is_inside()) return body(inside);
  body([&](int i, int j) { return window.has(i, j) ? inside(i, j) : Vector{}; });
}

/// Writes all[p] to the matrix of point p: `to` is the element of matrix 0, `apart` elements lie
/// between matrices.
void scatter(const Vector* all, float* to, std::int64_t apart) {
  for (int p = 0; p < points; ++p) store(to + p * apart, all[p]);
}

/// V[p][t][c] = (B^T d B)[p] of tiles [begin, end): `v` holds `points` matrices that begin `apart`
/// elements from one another.
template <class T>
void transform_inputs(const Tiles& tiles, const T* x, int channels, std::int64_t begin,
                      std::int64_t end, std::int64_t apart, float* v) {
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const Tiles::Place place = tiles.at(tile);
    const T* image = x + place.image * tiles.height * tiles.width * channels;
    const Window<inputs> window{place.row - tiles.pad_h, place.column - tiles.pad_w, tiles.height,
                                tiles.width};
    for (int c = 0; c < channels; c += lanes)
      with_pixels(window, image + c, channels, [&](auto pixel) {
        Vector half[points], all[points];
        for (int j = 0; j < inputs; ++j) {
          const Vector d[inputs] = {pixel(0, j), pixel(1, j), pixel(2, j),
                                    pixel(3, j), pixel(4, j), pixel(5, j)};
          transform_input<1, inputs>(d, half + j);
        }
        for (int i = 0; i < inputs; ++i) transform_input<1, 1>(half + i * inputs, all + i * inputs);
        scatter(all, v + (tile - begin) * channels + c, apart);
      });
  }
}

/// The three tensors of a convolution as the transforms see them.
struct Problem {
  Tiles tiles;
  int c_in, c_out;  // of the products: those that are summed over, and those that come out

  std::int64_t kernel_floats() const { return std::int64_t{points} * c_in * c_out; }
  /// Tiles transformed together at most: as many as a core's cache holds beside the kernels; many
  /// where the kernels do not fit, so that they are read few times.
  std::int64_t most_tiles() const {
    constexpr std::int64_t cache_floats = 192 << 10, most = 96;
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
    std::int64_t apart_in(int c_in) const { return group * c_in + lanes; }
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
                       for (int i = 0; i < 3; ++i)
                         for (int l = 0; l < lanes; ++l) g[i][l] = weight(in, i, j, out + l);
                       transform_kernel<1, 3>(g, half + j);
                     }
                     for (int i = 0; i < inputs; ++i)
                       transform_kernel<1, 1>(half + i * 3, all + i * inputs);
                     scatter(all, u + Panel(problem, out).at(problem, in, out), apart);
                   }
               });
}

/// y = convolution of x with the transformed kernels u; finish(value, element, channel) makes of a
/// sum what is stored at that element of y.
template <class T, class Finish>
void convolve(const Problem& problem, const T* x, const float* u, float* scratch,
              const Finish& finish, T* y) {
  const Tiles& tiles = problem.tiles;
  const int c_in = problem.c_in, c_out = problem.c_out;
  const Problem::Cut cut = problem.cut();
  const std::int64_t apart_in = cut.apart_in(c_in), apart_out = cut.apart_out();
  const auto finish_tiles = [&](std::int64_t begin, std::int64_t end, int first, int channels,
                                const float* m) {
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const Tiles::Place place = tiles.at(tile);
      const std::int64_t image = place.image * tiles.out_height * tiles.out_width;
      const Window<outputs> window{place.row, place.column, tiles.out_height, tiles.out_width};
      for (int c = 0; c < channels; c += lanes) {
        Vector half[outputs * inputs];
        const float* from = m + (tile - begin) * channels + c;
        for (int j = 0; j < inputs; ++j) {
          Vector column[inputs];
          for (int i = 0; i < inputs; ++i) column[i] = load(from + (i * inputs + j) * apart_out);
          transform_output<1, inputs>(column, half + j);
        }
        for (int i = 0; i < outputs; ++i) {
          Vector row[outputs];
          transform_output<1, 1>(half + i * inputs, row);
          for (int j = 0; j < outputs; ++j) {
            if (!window.has(i, j)) continue;
            const std::int64_t element = (image + window.pixel(i, j)) * c_out + first + c;
            store(y + element, finish(row[j], element, first + c));
          }
        }
      }
    }
  };
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
          finish_tiles(begin, end, channel, channels, m);
        }
      });
}

std::size_t convolve_bytes(const Problem& problem) {
  return sizeof(float) * (problem.kernel_floats() + onednn::threads() * problem.cut_floats());
}

/// The weight gradient: per pair of channels the products of all tiles' inputs and output
/// gradients, F(3x3, 4x4). Tiles come in groups; within one the 36 points are shared out over the
/// threads, so that each sum has one order.
struct GradientProblem {
  Tiles tiles;
  int c_in, c_out;

  explicit GradientProblem(const ConvShape& s)
      : tiles(s.n, s.h, s.w, s.out_h(), s.out_w(), s.pad_h, s.pad_w),
        c_in(s.c_in),
        c_out(s.c_out) {}
  std::int64_t group() const { return std::min<std::int64_t>(tiles.count, 256); }
  std::int64_t kernel_floats() const { return std::int64_t{points} * c_in * c_out; }
  std::int64_t floats() const { return kernel_floats() + points * group() * (c_in + c_out); }
};

/// W[p][t][c] of the output gradients of tiles [begin, end).
void transform_gradients(const Tiles& tiles, const float* dy, int channels, std::int64_t begin,
                         std::int64_t end, std::int64_t group, float* w) {
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const Tiles::Place place = tiles.at(tile);
    const float* image = dy + place.image * tiles.out_height * tiles.out_width * channels;
    const Window<outputs> window{place.row, place.column, tiles.out_height, tiles.out_width};
    for (int c = 0; c < channels; c += lanes)
      with_pixels(window, image + c, channels, [&](auto pixel) {
        Vector half[inputs * outputs], all[points];
        for (int j = 0; j < outputs; ++j) {
          const Vector g[outputs] = {pixel(0, j), pixel(1, j), pixel(2, j), pixel(3, j)};
          transform_gradient<1, outputs>(g, half + j);
        }
        for (int i = 0; i < inputs; ++i)
          transform_gradient<1, 1>(half + i * outputs, all + i * inputs);
        scatter(all, w + (tile - begin) * channels + c, group * channels);
      });
  }
}

/// dweight [c_out, 3, 3, c_in] from the summed products [p][c_out][c_in].
void transform_products(const GradientProblem& problem, const float* products, float* dweight) {
  const std::int64_t apart = std::int64_t{problem.c_in} * problem.c_out;
  parallel_for(problem.c_out, std::int64_t{points} * problem.c_in, [&](std::int64_t out) {
    for (int in = 0; in < problem.c_in; in += lanes) {
      Vector half[3 * inputs];
      for (int j = 0; j < inputs; ++j) {
        Vector column[inputs];
        for (int i = 0; i < inputs; ++i)
          column[i] = load(products + (i * inputs + j) * apart + out * problem.c_in + in);
        transform_to_kernel<1, inputs>(column, half + j);
      }
      for (int i = 0; i < 3; ++i) {
        Vector row[3];
        transform_to_kernel<1, 1>(half + i * inputs, row);
        for (int j = 0; j < 3; ++j)
          store(dweight + ((out * 3 + i) * 3 + j) * problem.c_in + in, row[j]);
      }
    }
  });
}

/// dbias = column sums of dy [rows, channels].
void sum_rows(const float* dy, std::int64_t rows, int channels, float* dbias) {
  parallel_for(channels / lanes, rows * lanes, [&](std::int64_t block) {
    Vector sum[4] = {};
    for (std::int64_t r = 0; r < rows; ++r) sum[r % 4] += load(dy + r * channels + block * lanes);
    store(dbias + block * lanes, (sum[0] + sum[1]) + (sum[2] + sum[3]));
  });
}

}  // namespace

namespace {

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
  if (!fits(s) || tiles_of(s) < 16) return false;
  return op.type == DType::f32 || (std::min(s.c_in, s.c_out) >= 32 &&
                                   (tiles_of(s) >= 64 || std::max(s.c_in, s.c_out) <= 256));
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
    const auto finish = [&](Vector value, std::int64_t element, int channel) {
      if (bias) value += load(bias + channel);
      if (residual) value += load(residual + element);
#pragma omp simd
      for (int l = 0; l < lanes; ++l) value[l] = activation(value[l]);
      return value;
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
      [](const Vector& value, std::int64_t, int) { return value; }, static_cast<T*>(op.dx));
}

}  // namespace

void run(const ConvInputGradient& op) {
  with_cpu_type(op.type, [&]<class T>(T) { run_input_gradient<T>(op); });
}

std::size_t workspace_bytes(const ConvWeightGradient& op) {
  return sizeof(float) * GradientProblem(op.shape).floats();
}

void run(const ConvWeightGradient& op) {
  const GradientProblem problem(op.shape);
  const Tiles& tiles = problem.tiles;
  const int c_in = problem.c_in, c_out = problem.c_out;
  const auto *x = static_cast<const float*>(op.x), *dy = static_cast<const float*>(op.dy);
  auto* products = static_cast<float*>(op.workspace);
  float* v = products + problem.kernel_floats();
  const std::int64_t group = problem.group();
  float* w = v + points * group * c_in;
  for (std::int64_t first = 0; first < tiles.count; first += group) {
    const std::int64_t count = std::min(group, tiles.count - first);
    constexpr std::int64_t run_of_tiles = 8;
    parallel_for(
        (count + run_of_tiles - 1) / run_of_tiles, run_of_tiles * points * (c_in + c_out),
        [&](std::int64_t i) {
          const std::int64_t begin = first + i * run_of_tiles;
          const std::int64_t end = std::min(begin + run_of_tiles, first + count);
          transform_inputs(tiles, x, c_in, begin, end, group * c_in, v + (begin - first) * c_in);
          transform_gradients(tiles, dy, c_out, begin, end, group, w + (begin - first) * c_out);
        });
    parallel_for(points, count * c_in * c_out, [&](std::int64_t p) {
      multiply({.m = c_out,
                .n = c_in,
                .k = static_cast<int>(count),
                .a = w + p * group * c_out,
                .a_row = 1,
                .a_column = c_out,
                .b = v + p * group * c_in,
                .b_row = c_in,
                .c = products + p * c_in * c_out,
                .c_row = c_in,
                .accumulate = first > 0});
    });
  }
  transform_products(problem, products, static_cast<float*>(op.dweight));
  if (op.dbias)
    sum_rows(dy, std::int64_t{op.shape.n} * tiles.out_height * tiles.out_width, c_out,
             static_cast<float*>(op.dbias));
}

}  // namespace anaphase::kernels::winograd
