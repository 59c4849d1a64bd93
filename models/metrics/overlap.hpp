// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace anaphase::models {

/// Counts of pixels by true and predicted class, from which the overlap scores follow. Add one
/// image for that image's scores, or many for scores pooled over all their pixels.
///
/// With T the pixels truly of a class and P those predicted: Dice = 2|T ∩ P| / (|T| + |P|) and
/// Jaccard = |T ∩ P| / |T ∪ P|. A class with neither (T and P empty) was predicted perfectly: both
/// scores are 1. A class with exactly one of them empty scores 0.
class Confusion {
 public:
  /// `classes` counts the background, class 0, too: at least 2.
  explicit Confusion(int classes);

  /// Adds the pixels of one image or volume. Throws Error if the sizes differ or a class id is
  /// outside [0, classes); the counts are then unchanged.
  void add(std::span<const std::int32_t> truth, std::span<const std::int32_t> prediction);

  int classes() const { return classes_; }
  std::int64_t count(int truth, int prediction) const {
    return counts_[truth * classes_ + prediction];
  }
  double dice(int label) const;
  double jaccard(int label) const;

  /// Means over the classes 1 … classes - 1, each with equal weight and the conventions above.
  double foreground_dice() const;
  double foreground_jaccard() const;

 private:
  struct Areas {
    double common, truth, prediction;
  };
  Areas areas(int label) const;

  int classes_;
  std::vector<std::int64_t> counts_;
};

}  // namespace anaphase::models
