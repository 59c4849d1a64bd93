// SPDX-License-Identifier: Apache-2.0
#include "models/metrics/overlap.hpp"

#include <algorithm>
#include <string>

#include "kernels/common/error.hpp"

namespace anaphase::models {

Confusion::Confusion(int classes) : classes_(classes) {
  if (classes < 2) {
    throw Error("scores need at least 2 classes, background and one other, not " +
                std::to_string(classes));
  }
  counts_.resize(std::size_t(classes) * classes);
}

void Confusion::add(std::span<const std::int32_t> truth, std::span<const std::int32_t> prediction) {
  if (truth.size() != prediction.size()) {
    throw Error("a truth of " + std::to_string(truth.size()) + " pixels and a prediction of " +
                std::to_string(prediction.size()) +
                " cannot be compared: bring both to the same size");
  }
  for (const auto labels : {truth, prediction}) {
    const auto bad = std::find_if(labels.begin(), labels.end(), [&](std::int32_t label) {
      return label < 0 || label >= classes_;
    });
    if (bad != labels.end()) {
      throw Error("class id " + std::to_string(*bad) + " is outside 0 … " +
                  std::to_string(classes_ - 1) +
                  ": correct the mask or give the number of classes it uses");
    }
  }
  for (std::size_t i = 0; i < truth.size(); ++i) ++counts_[truth[i] * classes_ + prediction[i]];
}

Confusion::Areas Confusion::areas(int label) const {
  Areas areas{double(count(label, label)), 0., 0.};
  for (int other = 0; other < classes_; ++other) {
    areas.truth += double(count(label, other));
    areas.prediction += double(count(other, label));
  }
  return areas;
}

double Confusion::dice(int label) const {
  const auto [common, truth, prediction] = areas(label);
  return truth + prediction == 0. ? 1. : 2. * common / (truth + prediction);
}

double Confusion::jaccard(int label) const {
  const auto [common, truth, prediction] = areas(label);
  return truth + prediction == 0. ? 1. : common / (truth + prediction - common);
}

double Confusion::foreground_dice() const {
  double sum = 0.;
  for (int label = 1; label < classes_; ++label) sum += dice(label);
  return sum / (classes_ - 1);
}

double Confusion::foreground_jaccard() const {
  double sum = 0.;
  for (int label = 1; label < classes_; ++label) sum += jaccard(label);
  return sum / (classes_ - 1);
}

}  // namespace anaphase::models
