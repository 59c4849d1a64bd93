// SPDX-License-Identifier: Apache-2.0
#include "models/metrics/scores.hpp"

#include <cmath>

#include "kernels/common/error.hpp"
#include "models/metrics/overlap.hpp"
#include "models/metrics/surface_distance.hpp"

namespace anaphase::models {

Scores score_image(std::span<const std::int32_t> truth, std::span<const std::int32_t> prediction,
                   const Grid& grid, int classes) {
  Confusion confusion(classes);
  confusion.add(truth, prediction);
  Scores scores{confusion.foreground_dice(), confusion.foreground_jaccard(), 0., 0.};
  for (int label = 1; label < classes; ++label) {
    const auto [hd95, asd] = surface_distance(truth, prediction, label, grid);
    scores.hd95 += hd95 / (classes - 1);
    scores.asd += asd / (classes - 1);
  }
  return scores;
}

Summary summarise(std::span<const Scores> images) {
  if (images.empty()) throw Error("there are no scores to summarise: give at least one image");
  Summary summary;
  summary.n = int(images.size());
  for (double Scores::*score : {&Scores::dice, &Scores::jaccard, &Scores::hd95, &Scores::asd}) {
    double sum = 0.;
    for (const Scores& image : images) sum += image.*score;
    const double mean = sum / summary.n;
    double squares = 0.;
    for (const Scores& image : images) squares += (image.*score - mean) * (image.*score - mean);
    summary.mean.*score = mean;
    summary.std.*score = summary.n == 1 ? 0. : std::sqrt(squares / (summary.n - 1));
  }
  return summary;
}

}  // namespace anaphase::models
