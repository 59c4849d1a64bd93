// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/common/error.hpp"
#include "models/metrics/distance_transform.hpp"
#include "models/metrics/overlap.hpp"
#include "models/metrics/scores.hpp"
#include "models/metrics/surface_distance.hpp"

namespace {

using namespace anaphase;
using namespace anaphase::models;
using Labels = std::vector<std::int32_t>;

/// Every grid the brute-force comparisons run on: odd, thin, single, deep, anisotropic.
const std::vector<Grid>& grids() {
  static const std::vector<Grid> list{
      Grid::image(1, 1),         Grid::image(1, 9),
      Grid::image(13, 1),        Grid::image(7, 5),
      Grid::image(17, 11),       {{1, 6, 9}, {4., 0.3, 1.7}},
      {{3, 5, 4}, {1., 1., 1.}}, {{5, 7, 3}, {2.5, 0.7, 1.1}},
      {{4, 1, 1}, {3., 1., 1.}},
  };
  return list;
}

struct Cell {
  int z, y, x;
};

Cell cell(const Grid& grid, int i) {
  const int width = grid.extent[2], height = grid.extent[1];
  return {i / (width * height), i / width % height, i % width};
}

double squared_distance(const Grid& grid, int a, int b) {
  const Cell p = cell(grid, a), q = cell(grid, b);
  return std::pow((p.z - q.z) * grid.spacing[0], 2) + std::pow((p.y - q.y) * grid.spacing[1], 2) +
         std::pow((p.x - q.x) * grid.spacing[2], 2);
}

/// The surface by its definition: cells whose set of in-grid face neighbours within the class is
/// smaller than the full set of 4 or 6.
std::vector<int> brute_surface(const Labels& labels, int label, const Grid& grid) {
  std::vector<int> cells;
  const int n = int(labels.size());
  for (int i = 0; i < n; ++i) {
    if (labels[i] != label) continue;
    int inside = 0;
    for (int j = 0; j < n; ++j) {
      const Cell p = cell(grid, i), q = cell(grid, j);
      const int steps = std::abs(p.z - q.z) + std::abs(p.y - q.y) + std::abs(p.x - q.x);
      inside += steps == 1 && labels[j] == label;
    }
    if (inside < (grid.extent[0] == 1 ? 4 : 6)) cells.push_back(i);
  }
  return cells;
}

double brute_percentile95(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double position = 0.95 * double(values.size() - 1);
  const int low = int(position);
  const int high = std::min(low + 1, int(values.size()) - 1);
  return values[low] + (position - low) * (values[high] - values[low]);
}

SurfaceDistance brute_surface_distance(const Labels& a, const Labels& b, int label,
                                       const Grid& grid) {
  const auto surface_a = brute_surface(a, label, grid), surface_b = brute_surface(b, label, grid);
  if (surface_a.empty() && surface_b.empty()) return {0., 0.};
  if (surface_a.empty() || surface_b.empty()) return {grid.diagonal(), grid.diagonal()};
  const auto directed = [&](const std::vector<int>& from, const std::vector<int>& to) {
    std::vector<double> distances;
    for (int i : from) {
      double nearest = std::numeric_limits<double>::infinity();
      for (int j : to) nearest = std::min(nearest, squared_distance(grid, i, j));
      distances.push_back(std::sqrt(nearest));
    }
    return distances;
  };
  std::vector<double> forward = directed(surface_a, surface_b);
  const std::vector<double> backward = directed(surface_b, surface_a);
  const double hd95 = std::max(brute_percentile95(forward), brute_percentile95(backward));
  forward.insert(forward.end(), backward.begin(), backward.end());
  double sum = 0.;
  for (double distance : forward) sum += distance;
  return {hd95, sum / double(forward.size())};
}

/// Random masks from empty through speckled and blocky to full.
Labels random_labels(const Grid& grid, int classes, double share, std::mt19937& random) {
  Labels labels(grid.cells());
  for (auto& label : labels)
    if (double(random()) / 4294967296. < share) label = 1 + int(random() % (classes - 1));
  return labels;
}

constexpr double shares[] = {0., 0.05, 0.3, 0.8, 1.};

bool close(double a, double b) {
  return std::abs(a - b) <= 1e-12 * (1. + std::abs(b));
}

}  // namespace

TEST_CASE("distance transform: equals the nearest site by brute force") {
  std::mt19937 random(1);
  for (const Grid& grid : grids()) {
    for (double share : shares) {
      const Labels labels = random_labels(grid, 2, share, random);
      const std::vector<std::uint8_t> sites(labels.begin(), labels.end());
      const auto squared = squared_distances(sites, grid);
      REQUIRE(squared.size() == sites.size());
      for (int i = 0; i < int(sites.size()); ++i) {
        double nearest = std::numeric_limits<double>::infinity();
        for (int j = 0; j < int(sites.size()); ++j)
          if (sites[j]) nearest = std::min(nearest, squared_distance(grid, i, j));
        CHECK((squared[i] == nearest || close(squared[i], nearest)));
      }
    }
  }
}

TEST_CASE("distance transform: integer spacing gives exact integers on long lines") {
  const Grid grid = Grid::image(4001, 3);
  std::vector<std::uint8_t> sites(grid.cells());
  sites[4001] = 1;  // x = 0, y = 1
  const auto squared = squared_distances(sites, grid);
  CHECK(squared[4000] == 4000. * 4000. + 1.);
  CHECK(squared[4001 + 4000] == 4000. * 4000.);
  CHECK(squared[2 * 4001 + 1234] == 1234. * 1234. + 1.);
}

TEST_CASE("overlap: hand-worked confusion of three classes") {
  Confusion confusion(3);
  confusion.add(Labels{0, 0, 1, 1, 1, 2}, Labels{0, 1, 1, 1, 2, 0});
  CHECK(confusion.count(1, 1) == 2);
  CHECK(confusion.count(1, 2) == 1);
  CHECK(confusion.count(2, 0) == 1);
  CHECK(close(confusion.dice(0), 2. / 4.));
  CHECK(close(confusion.dice(1), 4. / 6.));
  CHECK(close(confusion.jaccard(1), 2. / 4.));
  CHECK(confusion.dice(2) == 0.);
  CHECK(close(confusion.foreground_dice(), 1. / 3.));
  CHECK(close(confusion.foreground_jaccard(), 1. / 4.));

  // A second image is pooled over pixels, not averaged over images.
  confusion.add(Labels{1, 1, 1, 1}, Labels{1, 1, 1, 1});
  CHECK(close(confusion.dice(1), 12. / 14.));
  CHECK(close(confusion.jaccard(1), 6. / 8.));
}

TEST_CASE("overlap: empty classes") {
  Confusion both(2), missed(2), invented(2);
  both.add(Labels{0, 0}, Labels{0, 0});
  missed.add(Labels{0, 1}, Labels{0, 0});
  invented.add(Labels{0, 0}, Labels{1, 0});
  CHECK(both.dice(1) == 1.);
  CHECK(both.jaccard(1) == 1.);
  for (const Confusion& one : {missed, invented}) {
    CHECK(one.dice(1) == 0.);
    CHECK(one.jaccard(1) == 0.);
  }
}

TEST_CASE("overlap: bad input leaves the counts unchanged") {
  CHECK_THROWS_AS(Confusion(1), Error);
  Confusion confusion(2);
  CHECK_THROWS_AS(confusion.add(Labels{0, 1}, Labels{0}), Error);
  CHECK_THROWS_WITH_AS(confusion.add(Labels{1, 2}, Labels{1, 1}),
                       "class id 2 is outside 0 … 1: correct the mask or give the number of "
                       "classes it uses",
                       Error);
  CHECK_THROWS_AS(confusion.add(Labels{1, 1}, Labels{1, -1}), Error);
  CHECK(confusion.count(1, 1) == 0);
}

TEST_CASE("surface: interior cells drop out, border cells stay") {
  const Grid grid = Grid::image(5, 4);
  const Labels labels{1, 1, 1, 0, 0,  //
                      1, 1, 1, 0, 0,  //
                      1, 1, 1, 0, 1,  //
                      0, 0, 0, 0, 1};
  const std::vector<std::uint8_t> expected{1, 1, 1, 0, 0,  //
                                           1, 0, 1, 0, 0,  //
                                           1, 1, 1, 0, 1,  //
                                           0, 0, 0, 0, 1};
  CHECK(surface(labels, 1, grid) == expected);

  const Grid cube{{3, 3, 3}, {1., 1., 1.}};
  const auto shell = surface(Labels(27, 2), 2, cube);
  CHECK(shell[13] == 0);
  CHECK(std::count(shell.begin(), shell.end(), 1) == 26);
}

TEST_CASE("percentile: linear between order statistics") {
  CHECK(percentile({7.}, 0.95) == 7.);
  CHECK(close(percentile({4., 1., 3., 2.}, 0.5), 2.5));
  CHECK(percentile({5., 0., 10.}, 1.) == 10.);
  CHECK(percentile({5., 0., 10.}, 0.) == 0.);
  CHECK(close(percentile({0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10.}, 0.95), 9.5));
}

TEST_CASE("surface distance: hand-worked") {
  // Two pixels against the same two and one 3 further on: directed distances {0, 0} and {0, 0, 3}.
  const Labels truth{1, 1, 0, 0, 0, 0}, prediction{1, 1, 0, 0, 1, 0};
  const auto line = surface_distance(truth, prediction, 1, Grid::image(6, 1));
  CHECK(close(line.asd, 3. / 5.));
  CHECK(close(line.hd95, 2.7));  // position 1.9 of {0, 0, 3}
  const auto swapped = surface_distance(prediction, truth, 1, Grid::image(6, 1));
  CHECK(swapped.hd95 == line.hd95);
  CHECK(close(swapped.asd, line.asd));

  // The same voxels along the depth axis, 2.5 apart.
  const auto deep = surface_distance(truth, prediction, 1, {{6, 1, 1}, {2.5, 1., 1.}});
  CHECK(close(deep.asd, 2.5 * 3. / 5.));
  CHECK(close(deep.hd95, 2.5 * 2.7));

  // A class that is empty in both, and in exactly one: 0 and the diagonal of 3 x 4 pixels.
  const Labels none(12, 0), all(12, 1);
  CHECK(surface_distance(none, none, 1, Grid::image(3, 4)).hd95 == 0.);
  CHECK(surface_distance(none, none, 1, Grid::image(3, 4)).asd == 0.);
  CHECK(surface_distance(all, none, 1, Grid::image(3, 4)).hd95 == 5.);
  CHECK(surface_distance(none, all, 1, Grid::image(3, 4)).asd == 5.);
  CHECK(close((Grid{{2, 2, 1}, {3., 1., 7.}}.diagonal()), std::sqrt(36. + 4. + 49.)));
}

TEST_CASE("surface distance: equals brute force on random masks") {
  std::mt19937 random(2);
  for (const Grid& grid : grids()) {
    for (double share_a : shares) {
      for (double share_b : shares) {
        const Labels a = random_labels(grid, 3, share_a, random);
        const Labels b = random_labels(grid, 3, share_b, random);
        for (int label : {1, 2}) {
          const auto expected = brute_surface_distance(a, b, label, grid);
          const auto actual = surface_distance(a, b, label, grid);
          CHECK(close(actual.hd95, expected.hd95));
          CHECK(close(actual.asd, expected.asd));
        }
      }
    }
  }
}

TEST_CASE("scores: mean over foreground classes with the conventions of each") {
  // Class 1 is perfect, class 2 missed, class 3 absent from both.
  const Labels truth{1, 1, 2, 0}, prediction{1, 1, 0, 0};
  const Scores scores = score_image(truth, prediction, Grid::image(2, 2), 4);
  const double diagonal = std::sqrt(8.);
  CHECK(close(scores.dice, 2. / 3.));
  CHECK(close(scores.jaccard, 2. / 3.));
  CHECK(close(scores.hd95, diagonal / 3.));
  CHECK(close(scores.asd, diagonal / 3.));

  CHECK(score_image(Labels{1}, Labels{1}, Grid::image(1, 1), 2) == Scores{1., 1., 0., 0.});
  CHECK(score_image(Labels{0}, Labels{0}, Grid::image(1, 1), 2) == Scores{1., 1., 0., 0.});
  const Scores missed = score_image(Labels{1}, Labels{0}, Grid::image(1, 1), 2);
  CHECK(missed.dice == 0.);
  CHECK(close(missed.hd95, std::sqrt(2.)));

  CHECK_THROWS_AS(score_image(truth, prediction, Grid::image(3, 2), 4), Error);
  CHECK_THROWS_AS(score_image(truth, prediction, {{1, 2, 2}, {1., 0., 1.}}, 4), Error);
  CHECK_THROWS_AS(score_image({}, {}, {{1, 0, 0}, {1., 1., 1.}}, 2), Error);
}

TEST_CASE("summary: mean and sample deviation") {
  const std::vector<Scores> images{{1., 0.5, 2., 1.}, {0.5, 0.5, 4., 1.}, {0., 0.5, 9., 1.}};
  const Summary summary = summarise(images);
  CHECK(summary.n == 3);
  CHECK(close(summary.mean.dice, 0.5));
  CHECK(close(summary.std.dice, 0.5));
  CHECK(close(summary.mean.hd95, 5.));
  CHECK(close(summary.std.hd95, std::sqrt(13.)));
  CHECK(summary.std.jaccard == 0.);
  const Summary single = summarise(std::vector<Scores>{{0.7, 0.6, 3., 1.}});
  CHECK(single.mean == Scores{0.7, 0.6, 3., 1.});
  CHECK(single.std == Scores{});
  CHECK_THROWS_AS(summarise({}), Error);
}
