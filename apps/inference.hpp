// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "io/dataset.hpp"
#include "models/predictor.hpp"

namespace anaphase::apps {

/// The options of all commands that make masks with a trained model. What is not given comes from
/// the model's own configuration.
struct InferenceChoices {
  std::filesystem::path model;
  std::optional<std::string> with, sampler, precision;
  std::optional<int> steps, draws;
  std::optional<std::uint64_t> seed;
  int batch = 8;
  std::string device = "auto";
};

void add_choices(CLI::App& command, InferenceChoices& choices);

models::Model load_model(const InferenceChoices& choices);
models::InferenceOptions inference_options(const InferenceChoices& choices,
                                           const models::Model& model);

/// Reads a sample as the model wants it: channels, size, normalised.
io::LoadedSample load_for(const models::Model& model, const io::Sample& sample);

/// Makes a folder for results with its parents; throws Error where that fails.
void make_folder(const std::filesystem::path& path);

}  // namespace anaphase::apps
