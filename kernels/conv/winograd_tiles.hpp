// SPDX-License-Identifier: Apache-2.0
#pragma once

// What all directions of a Winograd convolution share: vectors of channels, the tiles of the images
// and their windows, and the transform of inputs.

#include <algorithm>
#include <cstdint>

#include "kernels/common/matrix_product.hpp"
#include "kernels/common/vector.hpp"

namespace anaphase::kernels::winograd {

inline constexpr int outputs = 4;           // of a tile, along each side
inline constexpr int inputs = outputs + 2;  // likewise
inline constexpr int points = inputs * inputs;

/// B^T d of one row or column, for the points 0, 1, -1, 2, -2 and infinity.
inline void transform_input(const Vector (&d)[inputs], Vector (&v)[inputs]) {
  const Vector a = d[4] - 4 * d[2], b = d[3] - 4 * d[1];
  const Vector c = d[4] - d[2], e = 2 * (d[3] - d[1]);
  v[0] = 4 * d[0] - 5 * d[2] + d[4];
  v[1] = a + b;
  v[2] = a - b;
  v[3] = c + e;
  v[4] = c - e;
  v[5] = 4 * d[1] - 5 * d[3] + d[5];
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

/// The outputs of the tile at (row, column), some of which may lie beside the image.
struct Window {
  int row, column, height, width;

  bool is_inside() const { return row + outputs <= height && column + outputs <= width; }
  bool has(int i, int j) const { return row + i < height && column + j < width; }
  std::int64_t pixel(int i, int j) const { return std::int64_t{row + i} * width + column + j; }
};

/// Writes all[p] to the matrix of point p: `to` is the element of matrix 0, `apart` elements lie
/// between matrices.
inline void scatter(const Vector* all, float* to, std::int64_t apart) {
  for (int p = 0; p < points; ++p) store(to + p * apart, all[p]);
}

/// Columns of pixels that tiles side by side read.
constexpr int columns_of(int tiles) {
  return tiles * outputs + inputs - outputs;
}

/// B^T d of all columns of a run of tiles side by side, which share two with each neighbour: rows,
/// each [column][channels]. The channels are those of a cache line, the tiles as many as leave room
/// in a core's first cache for what is read and written.
struct TransformedColumns {
  static constexpr int most_tiles = 4, channels = column_multiple;
  float rows[inputs][columns_of(most_tiles) * channels];

  /// Reads the columns of the image's pixels from (row, column) on, zero outside; `pixel` elements
  /// lie between pixels.
  template <class T>
  void read(const Tiles& tiles, const T* image, int pixel, int row, int column, int run) {
    const int count = columns_of(run);
    const int first = std::clamp(-column, 0, count);
    const int last = std::clamp(tiles.width - column, first, count);
    for (int j = 0; j < first * channels; j += lanes) put(j, {});
    for (int j = last * channels; j < count * channels; j += lanes) put(j, {});
    const auto read_inside = [&](auto&& has) {
      const auto at = [&](int i, int j) {
        return image + (std::int64_t{row + i} * tiles.width + column + j) * pixel;
      };
      for (int j = first; j < last; ++j)
        for (int c = 0; c < channels; c += lanes) {
          Vector d[inputs];
          for (int i = 0; i < inputs; ++i) d[i] = has(row + i) ? load(at(i, j) + c) : Vector{};
          put(j * channels + c, d);
        }
    };
    if (row >= 0 && row + inputs <= tiles.height)
      read_inside([](int) { return true; });
    else
      read_inside([&](int i) { return i >= 0 && i < tiles.height; });
  }

 private:
  void put(int element, const Vector (&d)[inputs]) {
    Vector v[inputs];
    transform_input(d, v);
    for (int i = 0; i < inputs; ++i) store(rows[i] + element, v[i]);
  }
};

/// V[p][t][c] = (B^T d B)[p] of tiles [begin, end): `v` holds `points` matrices that begin `apart`
/// elements from one another.
template <class T>
void transform_inputs(const Tiles& tiles, const T* x, int channels, std::int64_t begin,
                      std::int64_t end, std::int64_t apart, float* v) {
  TransformedColumns columns;
  for (std::int64_t tile = begin; tile < end;) {
    const Tiles::Place place = tiles.at(tile);
    const auto run = static_cast<int>(std::min<std::int64_t>(
        {end - tile, tiles.columns - place.column / outputs, columns.most_tiles}));
    const T* image = x + place.image * tiles.height * tiles.width * channels;
    for (int first = 0; first < channels; first += columns.channels) {
      columns.read(tiles, image + first, channels, place.row - tiles.pad_h,
                   place.column - tiles.pad_w, run);
      for (int t = 0; t < run; ++t)
        for (int i = 0; i < inputs; ++i)
          for (int c = 0; c < columns.channels; c += lanes) {
            const float* from = columns.rows[i] + t * outputs * columns.channels + c;
            float* to = v + i * inputs * apart + (tile - begin + t) * channels + first + c;
            Vector d[inputs], row[inputs];
            for (int j = 0; j < inputs; ++j) d[j] = load(from + j * columns.channels);
            transform_input(d, row);
            for (int j = 0; j < inputs; ++j) store(to + j * apart, row[j]);
          }
    }
    tile += run;
  }
}

}  // namespace anaphase::kernels::winograd
