// SPDX-License-Identifier: Apache-2.0
#include "models/metrics/distance_transform.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/common/error.hpp"

namespace anaphase::models {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The parabolas of one line: each cell q with finite f[q] adds the curve x -> f[q] + (x - q)².
/// Their minimum at every cell is the squared distance with one more axis taken into account.
class LowerEnvelope {
 public:
  explicit LowerEnvelope(int longest) : cell_(longest), begin_(longest), f_(longest) {}

  /// Replaces `length` values, `stride` apart, by the envelope of their parabolas.
  void transform(double* line, int length, std::ptrdiff_t stride, double spacing) {
    int curves = 0;
    for (int q = 0; q < length; ++q) {
      f_[q] = line[q * stride];
      if (f_[q] == infinity) continue;
      double begin = -infinity;
      while (curves > 0) {
        begin = crossing(cell_[curves - 1], q, spacing);
        if (begin > begin_[curves - 1]) break;
        --curves;  // the last curve is nowhere the lowest
      }
      cell_[curves] = q;
      begin_[curves] = curves == 0 ? -infinity : begin;
      ++curves;
    }
    if (curves == 0) return;
    for (int q = 0, k = 0; q < length; ++q) {
      while (k + 1 < curves && begin_[k + 1] < q) ++k;
      const double offset = spacing * (q - cell_[k]);
      line[q * stride] = f_[cell_[k]] + offset * offset;
    }
  }

 private:
  /// Where, in cells, the curve of the later cell q falls below the one of cell p.
  double crossing(int p, int q, double spacing) const {
    return 0.5 * (p + q) + (f_[q] - f_[p]) / (2. * spacing * spacing * (q - p));
  }

  std::vector<int> cell_;      // curves of the envelope, from left to right
  std::vector<double> begin_;  // where each becomes the lowest
  std::vector<double> f_;
};

}  // namespace

double Grid::diagonal() const {
  double sum = 0.;
  for (int axis = extent[0] == 1 ? 1 : 0; axis < 3; ++axis) {
    const double length = extent[axis] * spacing[axis];
    sum += length * length;
  }
  return std::sqrt(sum);
}

void Grid::check(std::size_t size) const {
  for (int axis = 0; axis < 3; ++axis) {
    if (extent[axis] < 1 || !(spacing[axis] > 0.) || !std::isfinite(spacing[axis])) {
      throw Error("a grid of " + std::to_string(extent[0]) + " x " + std::to_string(extent[1]) +
                  " x " + std::to_string(extent[2]) +
                  " cells cannot be measured: extents and spacings must be above 0");
    }
  }
  if (size != cells()) {
    throw Error("a label map of " + std::to_string(size) + " values does not fill the grid of " +
                std::to_string(extent[0]) + " x " + std::to_string(extent[1]) + " x " +
                std::to_string(extent[2]) + " cells: give truth and prediction the same size");
  }
}

std::vector<double> squared_distances(std::span<const std::uint8_t> sites, const Grid& grid) {
  grid.check(sites.size());
  std::vector<double> squared(sites.size());
  std::transform(sites.begin(), sites.end(), squared.begin(),
                 [](std::uint8_t site) { return site ? 0. : infinity; });
  const auto [depth, height, width] = grid.extent;
  const std::ptrdiff_t row = width;
  const std::ptrdiff_t slice = row * height;
  LowerEnvelope envelope(std::max({depth, height, width}));
  for (int z = 0; z < depth; ++z) {
    for (int y = 0; y < height; ++y)
      envelope.transform(&squared[z * slice + y * row], width, 1, grid.spacing[2]);
    for (int x = 0; x < width; ++x)
      envelope.transform(&squared[z * slice + x], height, row, grid.spacing[1]);
  }
  if (depth > 1) {
    for (std::ptrdiff_t cell = 0; cell < slice; ++cell)
      envelope.transform(&squared[cell], depth, slice, grid.spacing[0]);
  }
  return squared;
}

}  // namespace anaphase::models
