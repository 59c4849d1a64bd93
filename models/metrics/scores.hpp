// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "models/metrics/distance_transform.hpp"

namespace anaphase::models {

/// How well a prediction matches the truth. Dice and Jaccard lie in [0, 1], 1 is best; hd95 and asd
/// are distances in the unit of the grid's spacing, 0 is best.
struct Scores {
  double dice = 0.;
  double jaccard = 0.;
  double hd95 = 0.;
  double asd = 0.;

  bool operator==(const Scores&) const = default;
};

/// Scores of one image or volume: each is the mean over the foreground classes 1 … classes - 1 with
/// equal weights. A class absent from truth and prediction counts as found (1, 1, 0, 0), one absent
/// from exactly one of them as missed (0, 0, diagonal, diagonal). `classes` includes the
/// background. Throws Error if sizes differ or a class id is outside [0, classes).
Scores score_image(std::span<const std::int32_t> truth, std::span<const std::int32_t> prediction,
                   const Grid& grid, int classes);

/// Mean and standard deviation over images. The deviation is the sample's (divisor n - 1), and 0
/// for a single image.
struct Summary {
  int n = 0;
  Scores mean;
  Scores std;
};

/// Throws Error if there is nothing to summarise.
Summary summarise(std::span<const Scores> images);

}  // namespace anaphase::models
