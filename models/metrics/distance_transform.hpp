// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace anaphase::models {

/// Shape of an image or volume: cells in row-major order, width fastest. Axes are depth, height,
/// width. A depth of 1 makes it an image: that axis then has no neighbours, no border, no length.
struct Grid {
  std::array<int, 3> extent{1, 1, 1};         ///< cells along each axis, at least 1
  std::array<double, 3> spacing{1., 1., 1.};  ///< distance between neighbours, above 0, any unit

  static Grid image(int width, int height) { return {{1, height, width}, {1., 1., 1.}}; }

  std::size_t cells() const { return std::size_t(extent[0]) * extent[1] * extent[2]; }
  /// Corner to corner, in the unit of `spacing`; longer than any distance between two cells.
  double diagonal() const;
  /// Throws Error unless extents and spacing are positive and `size` is the number of cells.
  void check(std::size_t size) const;
};

/// Squared Euclidean distance of each cell's centre to the nearest cell whose `sites` value is not
/// 0, in the squared unit of the spacing; infinity everywhere where there is no site. Exact but for
/// the rounding of double: integer spacings give exact integers. Time is linear in the cells.
///
/// Method: one lower envelope of parabolas a line and axis (Felzenszwalb and Huttenlocher,
/// "Distance Transforms of Sampled Functions", Theory of Computing 8, 2012).
std::vector<double> squared_distances(std::span<const std::uint8_t> sites, const Grid& grid);

}  // namespace anaphase::models
