// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "models/metrics/scores.hpp"
#include "models/predictor.hpp"
#include "models/training/data.hpp"

namespace anaphase::models {

struct ImageScore {
  std::string name;
  Scores scores;
};

struct Evaluation {
  std::vector<ImageScore> images;
  Summary summary;
  double pooled_dice = 0, pooled_jaccard = 0;  // over all pixels of all images
};

/// Scores of masks predicted for samples of one size, at that size.
Evaluation evaluate(Predictor& predictor, const Samples& samples, int classes);

/// Mean Dice of the pseudo-labels of each round (0: the teacher's own) against the masks of the
/// samples that have one.
std::vector<double> pseudo_label_dice(PseudoLabeller& labeller, const Samples& samples, int batch,
                                      int classes);

/// {"n", "dice", "jaccard", "hd95", "asd", …, "per_image": [{"name", "dice", …}]} with standard
/// deviations, pooled scores and the conventions for empty masks.
std::string to_json(const Evaluation& evaluation);

}  // namespace anaphase::models
