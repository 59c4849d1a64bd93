// SPDX-License-Identifier: Apache-2.0
#include "models/training/evaluation.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/metrics/overlap.hpp"

namespace anaphase::models {
namespace {

/// Calls visit(first, last, pixels) for the samples in batches.
template <class Visit>
void for_each_batch(const Samples& samples, int batch, Visit&& visit) {
  for (std::size_t first = 0; first < samples.size(); first += batch) {
    const std::size_t last = std::min(samples.size(), first + batch);
    std::vector<float> pixels;
    for (std::size_t i = first; i < last; ++i)
      pixels.insert(pixels.end(), samples[i]->image.pixels.begin(), samples[i]->image.pixels.end());
    visit(first, last, pixels);
  }
}

/// The labels of image i of a batch's result.
std::vector<std::int32_t> labels_of(const std::vector<float>& probabilities, std::size_t i,
                                    std::size_t images, int classes) {
  const std::size_t per_image = probabilities.size() / images;
  const auto begin = probabilities.begin() + static_cast<std::ptrdiff_t>(i * per_image);
  return largest_class({begin, begin + static_cast<std::ptrdiff_t>(per_image)}, classes);
}

}  // namespace

Evaluation evaluate(Predictor& predictor, const Samples& samples, int classes) {
  Evaluation result;
  Confusion pooled(classes);
  for_each_batch(samples, predictor.batch(),
                 [&](std::size_t first, std::size_t last, const auto& pixels) {
                   const std::vector<float> probabilities = predictor.probabilities(pixels);
                   for (std::size_t i = first; i < last; ++i) {
                     const io::LoadedSample& sample = *samples[i];
                     const auto labels = labels_of(probabilities, i - first, last - first, classes);
                     const Grid grid = Grid::image(sample.image.width, sample.image.height);
                     result.images.push_back(
                         {sample.name, score_image(sample.mask.labels, labels, grid, classes)});
                     pooled.add(sample.mask.labels, labels);
                   }
                 });
  std::vector<Scores> scores;
  for (const ImageScore& image : result.images) scores.push_back(image.scores);
  result.summary = summarise(scores);
  result.pooled_dice = pooled.foreground_dice();
  result.pooled_jaccard = pooled.foreground_jaccard();
  return result;
}

std::vector<double> pseudo_label_dice(PseudoLabeller& labeller, const Samples& samples, int batch,
                                      int classes) {
  std::vector<double> sums(labeller.rounds() + 1);
  double count = 0;
  for_each_batch(samples, batch, [&](std::size_t first, std::size_t last, const auto& pixels) {
    const auto rounds = labeller.probabilities(pixels);
    for (std::size_t i = first; i < last; ++i) {
      const io::LoadedSample& sample = *samples[i];
      if (sample.mask.labels.empty()) continue;
      ++count;
      for (std::size_t r = 0; r < rounds.size(); ++r) {
        Confusion confusion(classes);
        confusion.add(sample.mask.labels, labels_of(rounds[r], i - first, last - first, classes));
        sums[r] += confusion.foreground_dice();
      }
    }
  });
  for (double& sum : sums) sum /= std::max(count, 1.0);
  return sums;
}

std::string to_json(const Evaluation& evaluation) {
  const auto fields = [](const Scores& scores) {
    return nlohmann::ordered_json{{"dice", scores.dice},
                                  {"jaccard", scores.jaccard},
                                  {"hd95", scores.hd95},
                                  {"asd", scores.asd}};
  };
  nlohmann::ordered_json json{{"n", evaluation.images.size()}};
  json.update(fields(evaluation.summary.mean));
  json["std"] = fields(evaluation.summary.std);
  json["pooled"] = {{"dice", evaluation.pooled_dice}, {"jaccard", evaluation.pooled_jaccard}};
  json["empty_masks"] =
      "a class absent from truth and prediction scores 1, 1, 0, 0; absent from one of them 0, 0, "
      "diagonal, diagonal";
  json["per_image"] = nlohmann::ordered_json::array();
  for (const ImageScore& image : evaluation.images) {
    nlohmann::ordered_json row{{"name", image.name}};
    row.update(fields(image.scores));
    json["per_image"].push_back(row);
  }
  return json.dump(2) + "\n";
}

}  // namespace anaphase::models
