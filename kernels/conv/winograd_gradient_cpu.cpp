// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/common/parallel.hpp"
#include "kernels/conv/winograd_cpu.hpp"
#include "kernels/conv/winograd_tiles.hpp"

// Kernel gradients by F(3x3, 4x4): the roles of kernels and outputs exchanged.

namespace anaphase::kernels::winograd {
namespace {

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

/// Calls body(value) with value(i, j) = the vector of the window's pixel (i, j), zero outside.
template <class Body>
void with_pixels(const Window& window, const float* image, int channels, Body&& body) {
  const auto pixels = [](const float* first, std::int64_t row, std::int64_t pixel) {
    return [=](int i, int j) { return load(first + i * row + j * pixel); };
  };
  if (window.is_inside())
    return body(pixels(image + window.pixel(0, 0) * channels, std::int64_t{window.width} * channels,
                       channels));
  float copy[outputs * outputs * lanes];
  for (int i = 0; i < outputs; ++i)
    for (int j = 0; j < outputs; ++j)
      store(copy + (i * outputs + j) * lanes,
            window.has(i, j) ? load(image + window.pixel(i, j) * channels) : Vector{});
  body(pixels(copy, outputs * lanes, lanes));
}

/// W[p][t][c] of the output gradients of tiles [begin, end).
void transform_gradients(const Tiles& tiles, const float* dy, int channels, std::int64_t begin,
                         std::int64_t end, std::int64_t group, float* w) {
  Tiles::Place place = tiles.at(begin);
  for (std::int64_t tile = begin; tile < end; ++tile, place = tiles.after(place)) {
    const float* image = dy + place.image * tiles.out_height * tiles.out_width * channels;
    const Window window{place.row, place.column, tiles.out_height, tiles.out_width};
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
