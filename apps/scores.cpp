// SPDX-License-Identifier: Apache-2.0
#include "apps/scores.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace anaphase::apps {

std::string score_table(const nlohmann::json& scores) {
  struct Row {
    const char* key;
    const char* title;
    const char* unit;
  };
  std::string table = fmt::format("{:<10}{:>9}{:>9}{:>9}\n", "", "mean", "std", "pooled");
  for (const auto& [key, title, unit] :
       {Row{"dice", "Dice", ""}, Row{"jaccard", "Jaccard", ""}, Row{"hd95", "HD95", " pixels"},
        Row{"asd", "ASD", " pixels"}}) {
    const auto pooled = scores.at("pooled").find(key);
    table += fmt::format(
        "{:<10}{:>9.4f}{:>9.4f}{:>9}{}\n", title, scores.at(key).get<double>(),
        scores.at("std").at(key).get<double>(),
        pooled == scores.at("pooled").end() ? "" : fmt::format("{:.4f}", pooled->get<double>()),
        unit);
  }
  return table +
         fmt::format(
             "n = {} images; mean over images and foreground classes, masks compared at the "
             "model's size;\n{}\n",
             scores.at("n").get<int>(), scores.at("empty_masks").get<std::string>());
}

}  // namespace anaphase::apps
