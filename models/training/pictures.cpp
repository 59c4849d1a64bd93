// SPDX-License-Identifier: Apache-2.0
#include "models/training/pictures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/atomic_file.hpp"

namespace anaphase::models {
namespace {

constexpr std::size_t row_count = 6;

/// Background black, then colours that colour-blind eyes tell apart (Okabe and Ito); they repeat
/// after seven classes.
constexpr std::array<std::array<float, 3>, 8> palette = {{{0.0F, 0.0F, 0.0F},
                                                          {0.90F, 0.62F, 0.0F},
                                                          {0.34F, 0.71F, 0.91F},
                                                          {0.0F, 0.62F, 0.45F},
                                                          {0.94F, 0.89F, 0.26F},
                                                          {0.0F, 0.45F, 0.70F},
                                                          {0.84F, 0.37F, 0.0F},
                                                          {0.80F, 0.47F, 0.65F}}};

io::Image picture_of_labels(const std::vector<std::int32_t>& labels, int width, int height) {
  io::Image picture{width, height, 3, {}};
  for (const std::int32_t label : labels) {
    const auto& colour = palette[label == 0 ? 0 : 1 + (label - 1) % (palette.size() - 1)];
    picture.pixels.insert(picture.pixels.end(), colour.begin(), colour.end());
  }
  return picture;
}

io::Image picture_of_image(const io::Image& normalised, const DataFacts& facts) {
  io::Image picture = normalised;
  for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
    const std::size_t c = i % facts.channels;
    picture.pixels[i] = picture.pixels[i] * facts.std[c] + facts.mean[c];
  }
  return picture;
}

/// Entropy of the rounds' mean probability, 1 where all classes are equally likely.
io::Image picture_of_uncertainty(const std::vector<std::vector<float>>& rounds, int classes,
                                 int width, int height) {
  io::Image picture{width, height, 1, std::vector<float>(static_cast<std::size_t>(width) * height)};
  for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
    double entropy = 0;
    for (int k = 0; k < classes; ++k) {
      double p = 0;
      for (const auto& round : rounds) p += round[i * classes + k];
      p /= static_cast<double>(rounds.size());
      if (p > 0) entropy -= p * std::log(p);
    }
    picture.pixels[i] = static_cast<float>(entropy / std::log(classes));
  }
  return picture;
}

/// Images from the worst to the best score, evenly spread.
std::vector<std::size_t> choose_rows(const Evaluation& evaluation) {
  std::vector<std::size_t> order(evaluation.images.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return evaluation.images[a].scores.dice > evaluation.images[b].scores.dice;
  });
  if (order.size() <= row_count) return order;
  std::vector<std::size_t> chosen(row_count);
  for (std::size_t i = 0; i < row_count; ++i)
    chosen[i] = order[i * (order.size() - 1) / (row_count - 1)];
  return chosen;
}

}  // namespace

void write_pictures(const std::filesystem::path& folder, Model& model,
                    const std::vector<io::LoadedSample>& samples, const Evaluation& evaluation) {
  std::filesystem::create_directories(folder);
  const DataFacts& facts = model.facts();
  const int classes = facts.classes, size = model.config().data.size;
  InferenceOptions options = model.config().inference;
  options.with = "students";
  Predictor students(model, options, 1, size, size);
  std::optional<Predictor> teacher;
  std::optional<PseudoLabeller> labeller;
  if (model.has_teacher()) {
    options.with = "teacher";
    teacher.emplace(model, options, 1, size, size);
    labeller.emplace(model, 1, size, size);
  }

  auto rows = nlohmann::ordered_json::array();
  for (const std::size_t index : choose_rows(evaluation)) {
    const io::LoadedSample& sample = samples[index];
    const std::vector<float>& pixels = sample.image.pixels;
    nlohmann::ordered_json row{{"name", sample.name},
                               {"dice", evaluation.images[index].scores.dice},
                               {"tiles", nlohmann::ordered_json::array()}};
    const auto add = [&](const std::string& title, const io::Image& picture) {
      const std::string file = fmt::format("{:04}_{}.png", index, row["tiles"].size());
      io::write_png(folder / file, picture);
      row["tiles"].push_back({{"title", title}, {"file", file}});
    };
    const auto add_mask = [&](const std::string& title, const std::vector<float>& probabilities) {
      add(title, picture_of_labels(largest_class(probabilities, classes), size, size));
    };
    add("image", picture_of_image(sample.image, facts));
    add("truth", picture_of_labels(sample.mask.labels, size, size));
    const std::vector<std::vector<float>> by_student = students.by_network(pixels);
    for (std::size_t k = 0; k < by_student.size(); ++k)
      add_mask(by_student.size() == 1 ? "student" : fmt::format("student {}", k + 1),
               by_student[k]);
    if (teacher) {
      add_mask("teacher", teacher->probabilities(pixels));
      const auto rounds = labeller->probabilities(pixels);
      for (std::size_t r = 1; r < rounds.size(); ++r)
        add_mask(fmt::format("round {}", r), rounds[r]);
      add("uncertainty", picture_of_uncertainty(rounds, classes, size, size));
    }
    rows.push_back(std::move(row));
  }
  io::write_file_atomically(folder / "index.json", nlohmann::json{{"rows", rows}}.dump(2) + "\n");
}

}  // namespace anaphase::models
