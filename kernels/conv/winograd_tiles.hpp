// SPDX-License-Identifier: Apache-2.0
#pragma once

// What all directions of a Winograd convolution share: vectors of channels, the tiles of the images
// and their windows, and the transform of inputs.

#include <cstdint>

#include "kernels/common/matrix_product.hpp"
#include "kernels/common/vector.hpp"

namespace anaphase::kernels::winograd {

inline constexpr int outputs = 4;           // of a tile, along each side
inline constexpr int inputs = outputs + 2;  // likewise
inline constexpr int points = inputs * inputs;

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
  /// That of the next tile.
  Place after(const Place& place) const {
    if (place.column + outputs < out_width) return {place.image, place.row, place.column + outputs};
    if (place.row + outputs < out_height) return {place.image, place.row + outputs, 0};
    return {place.image + 1, 0, 0};
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
  const auto pixels = [](const T* first, std::int64_t row, std::int64_t pixel) {
    return [=](int i, int j) { return load(first + i * row + j * pixel); };
  };
  if (window.is_inside())
    return body(pixels(image + window.pixel(0, 0) * channels, std::int64_t{window.width} * channels,
                       channels));
  T copy[Side * Side * lanes];
  for (int i = 0; i < Side; ++i)
    for (int j = 0; j < Side; ++j)
      store(copy + (i * Side + j) * lanes,
            window.has(i, j) ? load(image + window.pixel(i, j) * channels) : Vector{});
  body(pixels(copy, Side * lanes, lanes));
}

/// Writes all[p] to the matrix of point p: `to` is the element of matrix 0, `apart` elements lie
/// between matrices.
inline void scatter(const Vector* all, float* to, std::int64_t apart) {
  for (int p = 0; p < points; ++p) store(to + p * apart, all[p]);
}

/// V[p][t][c] = (B^T d B)[p] of tiles [begin, end): `v` holds `points` matrices that begin `apart`
/// elements from one another.
template <class T>
void transform_inputs(const Tiles& tiles, const T* x, int channels, std::int64_t begin,
                      std::int64_t end, std::int64_t apart, float* v) {
  Tiles::Place place = tiles.at(begin);
  for (std::int64_t tile = begin; tile < end; ++tile, place = tiles.after(place)) {
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

}  // namespace anaphase::kernels::winograd
