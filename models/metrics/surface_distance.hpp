// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/metrics/distance_transform.hpp"

namespace anaphase::models {

/// The surface of a class: 1 at its cells that lie at the border of the grid or have one of their
/// 4 neighbours (6 in a volume) outside the class, 0 elsewhere.
std::vector<std::uint8_t> surface(std::span<const std::int32_t> labels, std::int32_t label,
                                  const Grid& grid);

/// The value below which the fraction `q` in [0, 1] of `values` lies, interpolated linearly between
/// the two order statistics around position q (n - 1). `values` must not be empty.
double percentile(std::vector<double> values, double q);

struct SurfaceDistance {
  double hd95;  ///< the larger of the two directed 95th percentiles
  double asd;   ///< mean over the cells of both surfaces (average symmetric surface distance)
};

/// Distances between the surfaces of one class in truth and prediction: from each surface cell of
/// the one to the nearest surface cell of the other, in the unit of the grid's spacing.
///
/// Where the class is empty in both, the two agree: 0. Where exactly one is empty no distance
/// exists, and both values are the diagonal of the grid: a finite value worse than any possible
/// one, so that a mean over images stays defined and a missed object is never an advantage.
SurfaceDistance surface_distance(std::span<const std::int32_t> truth,
                                 std::span<const std::int32_t> prediction, std::int32_t label,
                                 const Grid& grid);

}  // namespace anaphase::models
