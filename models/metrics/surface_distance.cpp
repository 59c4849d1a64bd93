// SPDX-License-Identifier: Apache-2.0
#include "models/metrics/surface_distance.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace anaphase::models {
namespace {

/// From each cell of the surface `from` to the nearest cell of the surface `to`.
std::vector<double> directed(std::span<const std::uint8_t> from, std::span<const std::uint8_t> to,
                             const Grid& grid) {
  const std::vector<double> squared = squared_distances(to, grid);
  std::vector<double> distances;
  for (std::size_t i = 0; i < from.size(); ++i)
    if (from[i]) distances.push_back(std::sqrt(squared[i]));
  return distances;
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.);
}

}  // namespace

std::vector<std::uint8_t> surface(std::span<const std::int32_t> labels, std::int32_t label,
                                  const Grid& grid) {
  grid.check(labels.size());
  const auto [depth, height, width] = grid.extent;
  const std::size_t row = width;
  const std::size_t slice = row * height;
  std::vector<std::uint8_t> result(labels.size());
  std::size_t i = 0;
  for (int z = 0; z < depth; ++z) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x, ++i) {
        if (labels[i] != label) continue;
        const auto exposed = [&](int position, int extent, std::size_t stride) {
          return position == 0 || position == extent - 1 || labels[i - stride] != label ||
                 labels[i + stride] != label;
        };
        result[i] = exposed(x, width, 1) || exposed(y, height, row) ||
                    (depth > 1 && exposed(z, depth, slice));
      }
    }
  }
  return result;
}

double percentile(std::vector<double> values, double q) {
  const double position = q * double(values.size() - 1);
  const auto below = values.begin() + std::ptrdiff_t(position);
  std::nth_element(values.begin(), below, values.end());
  if (below + 1 == values.end()) return *below;
  const double above = *std::min_element(below + 1, values.end());
  return *below + (position - std::floor(position)) * (above - *below);
}

SurfaceDistance surface_distance(std::span<const std::int32_t> truth,
                                 std::span<const std::int32_t> prediction, std::int32_t label,
                                 const Grid& grid) {
  const auto truth_surface = surface(truth, label, grid);
  const auto prediction_surface = surface(prediction, label, grid);
  const auto empty = [](const auto& cells) {
    return std::find(cells.begin(), cells.end(), 1) == cells.end();
  };
  const bool truth_empty = empty(truth_surface);
  const bool prediction_empty = empty(prediction_surface);
  if (truth_empty && prediction_empty) return {0., 0.};
  if (truth_empty || prediction_empty) return {grid.diagonal(), grid.diagonal()};

  const auto forward = directed(truth_surface, prediction_surface, grid);
  const auto backward = directed(prediction_surface, truth_surface, grid);
  return {std::max(percentile(forward, 0.95), percentile(backward, 0.95)),
          (sum(forward) + sum(backward)) / double(forward.size() + backward.size())};
}

}  // namespace anaphase::models
