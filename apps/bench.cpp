// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/bench.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <random>

#include "apps/commands.hpp"
#include "apps/settings.hpp"

namespace anaphase::apps {

void add_bench(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "bench",
      "Measure speed on this machine: sampling, training, latency and single kernels, beside what "
      "its matrix products and its memory reach.");
  command->require_subcommand(1);
  command->get_formatter()->label("SUBCOMMAND", "MEASUREMENT");
  bench::add_sampling(*command);
  bench::add_training(*command);
  bench::add_latency(*command);
  bench::add_kernels(*command);
}

namespace bench {

void add_options(CLI::App& command, Options& options) {
  const auto model = [&](const char* name, auto& value, const std::string& text,
                         const char* type) -> CLI::Option* {
    return command.add_option(name, value, text)->type_name(type)->group("Model");
  };
  CLI::Option* trained = model("--model", options.model,
                               "Run folder, or a model file; without it a fresh model is made, "
                               "which is as fast as a trained one",
                               "RUN|FILE");
  for (CLI::Option* option :
       {model("--preset", options.preset, preset_help, "NAME")
            ->check(CLI::IsMember({"tiny", "small", "paper"}).description("")),
        model("--network", options.network, "unet or plain", "NAME")
            ->check(CLI::IsMember({"unet", "plain"}).description("")),
        model("--channels", options.channels, "Channels of the images: 1 or 3", "C")
            ->check(CLI::IsMember({1, 3}).description("")),
        model("--classes", options.classes, "Classes, background included", "K")
            ->check(CLI::Range(2, 255).description(""))})
    option->capture_default_str()->excludes(trained);
  model("--size", options.size, "Width and height of the images", "PX")
      ->default_str("128, or the model's");
  model("--precision", options.precision, "f32, tf32 (f32 with tf32 products on a GPU) or bf16",
        "TYPE")
      ->check(CLI::IsMember({"f32", "tf32", "bf16"}).description(""))
      ->default_str("f32, or the model's");
  add_settings(command, options.settings)->group("Model");

  add_device(command, options.device);
  command.add_option("--threads", options.threads, "Threads of the processor")
      ->check(CLI::Range(1, 4096).description(""))
      ->type_name("T")
      ->default_str("OMP_NUM_THREADS, or all cores")
      ->group("Machine");
  command.add_option("--warmup", options.warmup, "Repetitions that are not timed")
      ->check(CLI::Range(2, 1000000).description(""))  // a GPU's graph is captured in the second
      ->type_name("W")
      ->capture_default_str()
      ->group("Repetitions");
  command.add_option("--repetitions", options.repetitions, "Repetitions that are timed")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("R")
      ->capture_default_str()
      ->group("Repetitions");
  command.add_option("--json", options.json, "Write all numbers as JSON; - is the standard output")
      ->type_name("FILE")
      ->group("Results");
  command.add_option("--html", options.html, "Write a page with tables and charts, for a browser")
      ->type_name("FILE")
      ->group("Results");
}

void add_paced(CLI::App& command, Options& options) {
  command
      .add_flag("--paced", options.paced,
                "Print \"ready\" after the warm-up, then do one repetition for every line that is "
                "read and print its milliseconds: for measurements in turn with other programs")
      ->excludes(command.get_option("--repetitions"))
      ->group("Repetitions");
}

void add_batches(CLI::App& command, Options& options) {
  command
      .add_option("--batch", options.batches,
                  "Images at a time; may be several numbers, measured one after the other")
      ->check(CLI::Range(1, 4096).description(""))
      ->take_all()
      ->type_name("B")
      ->capture_default_str()
      ->group("Model");
}

void add_files(CLI::App& command, Options& options, const std::string& dumped) {
  command
      .add_option("--export", options.weights,
                  "Save the model as it was before the first repetition")
      ->type_name("FILE")
      ->group("Results");
  command.add_option("--dump", options.dump, fmt::format("Save as safetensors: {}", dumped))
      ->type_name("FILE")
      ->group("Results");
}

void add_profile(CLI::App& command, Options& options) {
  command.add_flag("--profile", options.profile, "Show the time of each kind of call")
      ->group("Results");
}

engine::Device open_device(const Options& options) {
  if (options.batches.size() > 1 && (options.paced || !options.dump.empty()))
    throw CLI::ValidationError("--paced and --dump go with a single --batch");
  if (options.threads > 0) omp_set_num_threads(options.threads);
  const engine::Device device = engine::Device::parse(options.device);
  explain_device(options.device);
  return device;
}

models::Model make_model(const Options& options, const engine::Device& device, const Keys& keys) {
  const auto change = [&](models::Config& config) {
    if (options.size) config.set("data.size", std::to_string(*options.size), "--size");
    if (options.precision) config.training.precision = *options.precision;
    for (const auto& [key, value] : keys) config.set(key, value);
    apply_settings(config, options.settings);
  };
  if (!options.model.empty()) return models::Model::load(device, options.model, change);
  models::Config config;
  config.apply_preset(options.preset);
  config.set("network.architecture", options.network);
  change(config);
  const models::DataFacts facts{options.channels, options.classes,
                                std::vector<float>(options.channels, 0.5F),
                                std::vector<float>(options.channels, 0.25F)};
  return {device, config, facts};
}

std::vector<float> made_up_pixels(std::int64_t count) {
  std::mt19937 random;  // NOLINT(cert-msc51-cpp): the same numbers every time
  std::vector<float> pixels(count);
  for (float& pixel : pixels) pixel = static_cast<float>(random()) * 0x1p-30F - 2;
  return pixels;
}

std::vector<std::int32_t> made_up_labels(int batch, int size, int classes) {
  std::vector<std::int32_t> labels;
  for (int n = 0; n < batch; ++n)
    for (int y = 0; y < size; ++y)
      for (int x = 0; x < size; ++x) labels.push_back((n + y / 8 + x / 8) % classes);
  return labels;
}

io::TensorEntry dumped(const engine::Shape& shape, const std::vector<float>& values) {
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  return {"F32", shape, {bytes, bytes + values.size() * sizeof(float)}};
}

io::TensorEntry dumped(const engine::Shape& shape, const std::vector<std::int32_t>& values) {
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  return {"I32", shape, {bytes, bytes + values.size() * sizeof(std::int32_t)}};
}

}  // namespace bench
}  // namespace anaphase::apps
