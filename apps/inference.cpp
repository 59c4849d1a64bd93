// SPDX-License-Identifier: Apache-2.0
#include "apps/inference.hpp"

#include <fmt/format.h>

#include <limits>

#include "apps/settings.hpp"
#include "kernels/common/error.hpp"

namespace anaphase::apps {

void add_choices(CLI::App& command, InferenceChoices& choices) {
  const std::string of_model = "as the model was configured";
  command.add_option("--model", choices.model, "Run folder, or a model file (model.safetensors)")
      ->required()
      ->type_name("RUN|FILE")
      ->group("Model");
  command
      .add_option("--with", choices.with, "students (their mean, where there are two) or teacher")
      ->check(CLI::IsMember({"students", "teacher"}).description(""))
      ->type_name("WHO")
      ->default_str(of_model)
      ->group("Model");
  command
      .add_option("--steps", choices.steps,
                  "Denoising steps for a mask; 1 is one pass of the network")
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N")
      ->default_str(of_model)
      ->group("Model");
  command
      .add_option(
          "--sampler", choices.sampler,
          "How more than one step go: ddim, dpm (DPM-Solver++, second order) or ddpm (draws "
          "noise in every step)")
      ->check(CLI::IsMember({"ddim", "dpm", "ddpm"}).description(""))
      ->type_name("NAME")
      ->default_str(of_model)
      ->group("Model");
  command.add_option("--draws", choices.draws, "Average so many masks, each from noise of its own")
      ->check(CLI::Range(1, 1000).description(""))
      ->type_name("N")
      ->default_str(of_model)
      ->group("Model");
  command
      .add_option("--seed", choices.seed, "Seed of the noise; the same seed gives the same masks")
      ->type_name("S")
      ->default_str(of_model)
      ->group("Model");
  command.add_option("--batch", choices.batch, "Images at a time; more need more memory")
      ->check(CLI::Range(1, 4096).description(""))
      ->type_name("B")
      ->capture_default_str()
      ->group("Machine");
  command
      .add_option("--precision", choices.precision,
                  "f32, tf32 (f32 with tf32 products on a GPU) or bf16")
      ->check(CLI::IsMember({"f32", "tf32", "bf16"}).description(""))
      ->type_name("TYPE")
      ->default_str("as the model was trained")
      ->group("Machine");
  add_device(command, choices.device);
}

models::Model load_model(const InferenceChoices& choices) {
  return models::Model::load(engine::Device::parse(choices.device), choices.model,
                             [&](models::Config& config) {
                               if (choices.precision)
                                 config.training.precision = *choices.precision;
                             });
}

models::InferenceOptions inference_options(const InferenceChoices& choices,
                                           const models::Model& model) {
  models::InferenceOptions options = model.config().inference;
  options.with = choices.with.value_or(options.with);
  options.steps = choices.steps.value_or(options.steps);
  options.sampler = choices.sampler.value_or(options.sampler);
  options.draws = choices.draws.value_or(options.draws);
  options.seed = choices.seed.value_or(options.seed);
  return options;
}

io::LoadedSample load_for(const models::Model& model, const io::Sample& sample) {
  const models::DataFacts& facts = model.facts();
  io::LoadedSample loaded =
      io::load_sample(sample, {model.config().data.size, facts.channels, facts.classes});
  io::normalise(loaded.image,
                {{facts.mean.begin(), facts.mean.end()}, {facts.std.begin(), facts.std.end()}});
  return loaded;
}

void make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    throw Error(fmt::format("cannot make folder {}: {}; choose a place that you may write to",
                            path.string(), error.message()));
}

}  // namespace anaphase::apps
