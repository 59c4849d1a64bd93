// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/commands.hpp"
#include "apps/inference.hpp"
#include "apps/scores.hpp"
#include "apps/settings.hpp"
#include "io/atomic_file.hpp"
#include "io/dataset.hpp"
#include "models/training/evaluation.hpp"

namespace anaphase::apps {
namespace {

struct EvaluateOptions {
  InferenceChoices choices;
  std::filesystem::path data, json;
  std::string split = "val";
};

void evaluate(const EvaluateOptions& options) {
  models::Model model = load_model(options.choices);
  const int size = model.config().data.size;
  std::vector<io::LoadedSample> samples;
  for (const io::Sample& sample :
       io::list_split(options.data, options.split, io::MaskRule::required))
    samples.push_back(load_for(model, sample));
  const int batch = static_cast<int>(std::min<std::size_t>(options.choices.batch, samples.size()));
  models::Predictor predictor(model, inference_options(options.choices, model), batch, size, size);
  explain_device(options.choices.device);
  const std::string json =
      models::to_json(models::evaluate(predictor, models::all_of(samples), model.facts().classes));
  if (options.json == "-") {
    fmt::print("{}", json);
    return;
  }
  if (!options.json.empty()) io::write_file_atomically(options.json, json);
  fmt::print("{}", score_table(nlohmann::json::parse(json)));
}

}  // namespace

void add_evaluate(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "evaluate",
      "Score a trained model on images whose masks are known: Dice, Jaccard, 95 % Hausdorff "
      "distance and average surface distance. Masks are compared at the size of training, and "
      "distances are in its pixels.");
  const auto options = std::make_shared<EvaluateOptions>();
  add_choices(*command, options->choices);
  command->add_option("--data", options->data, "Data set: DIR/SPLIT/image and DIR/SPLIT/mask")
      ->required()
      ->type_name("DIR")
      ->group("Data");
  command->add_option("--split", options->split, "Part of the data set")
      ->type_name("SPLIT")
      ->capture_default_str()
      ->group("Data");
  command
      ->add_option("--json", options->json,
                   "Write the scores of all images and their summary as JSON; - is the standard "
                   "output, then without the table")
      ->type_name("FILE")
      ->group("Data");
  command->footer(
      "Examples:\n"
      "  anaphase evaluate --model run --data glands\n"
      "  anaphase evaluate --model run --data glands --split test --with teacher --json "
      "scores.json");
  command->callback([options] { evaluate(*options); });
}

}  // namespace anaphase::apps
