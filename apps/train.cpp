// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "apps/commands.hpp"
#include "apps/progress.hpp"
#include "apps/scores.hpp"
#include "apps/settings.hpp"
#include "io/report.hpp"
#include "io/run_folder.hpp"
#include "kernels/common/error.hpp"
#include "models/training/trainer.hpp"

namespace anaphase::apps {
namespace {

namespace fs = std::filesystem;

/// An option that is another name for a key of the configuration.
struct Shortcut {
  std::string option, key, type, group, text, default_text;
};

std::vector<Shortcut> shortcuts() {
  const models::Config c;
  return {
      {"--data", "data.path", "DIR", "Data",
       "Data set: DIR/train/image and DIR/train/mask, and the same under val (required unless "
       "--resume). An image and its mask share their name; images without a mask are unlabelled",
       ""},
      {"--labels", "data.labels", "SHARE", "Data",
       "How many training images may use their mask: a share (10%, 0.1) or a number (9)",
       c.data.labels},
      {"--size", "data.size", "PX", "Data", "Images are resized to PX x PX",
       std::to_string(c.data.size)},
      {"--method", "training.method", "METHOD", "Training",
       "co-training: teacher and twin students; supervised: one student on the labelled images, "
       "for comparison",
       c.training.method},
      {"--epochs", "training.epochs", "E", "Training",
       "Passes over the labelled images; with --resume it makes the run longer",
       std::to_string(c.training.epochs)},
      {"--pretrain-epochs", "pretrain.epochs", "P", "Training",
       "Passes over all training images before, to pretrain the teacher without labels",
       std::to_string(c.pretrain.epochs)},
      {"--seed", "training.seed", "S", "Training",
       "Which images are labelled, initial weights, all noise: the same seed gives the same model",
       std::to_string(c.training.seed)},
      {"--precision", "training.precision", "TYPE", "Machine",
       "f32; tf32: f32 with products in tf32 where a GPU has them; or bf16: half the memory, on "
       "processors "
       "with AVX-512",
       c.training.precision},
  };
}

struct TrainOptions {
  std::vector<std::string> values;  // of the shortcuts, in their order
  std::vector<const CLI::Option*> given;
  fs::path out, file;
  std::string preset = "tiny", device = "auto";
  std::vector<std::string> settings;
  bool resume = false;
};

std::atomic<bool> stop{false};
std::atomic<int> stop_signal{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void on_signal(int signal) {
  if (stop.exchange(true)) _exit(128 + signal);
  stop_signal = signal;
  constexpr std::string_view note =
      "\nanaphase: stopping after this step, with a checkpoint; once more: at once\n";
  [[maybe_unused]] const auto ignored = write(STDERR_FILENO, note.data(), note.size());
}

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

/// As a shell reads it.
std::string shell_word(const fs::path& path) {
  const std::string text = path.string();
  constexpr std::string_view plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+=:,@%";
  if (!text.empty() && text.find_first_not_of(plain) == text.npos) return text;
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? "'\\''" : std::string(1, c);
  return result + "'";
}

models::Config new_config(const TrainOptions& options) {
  models::Config config;
  config.apply_preset(options.preset);
  if (!options.file.empty()) config.read(options.file);
  apply_settings(config, options.settings);
  const std::vector<Shortcut> all = shortcuts();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (options.given[i]->empty()) continue;
    config.set(all[i].key, options.values[i], all[i].option);
    if (all[i].option == "--epochs") config.training.steps = 0;
  }
  if (config.data.path.empty())
    throw CLI::ValidationError("--data is required: name the folder of the data set");
  config.data.path = fs::absolute(config.data.path).lexically_normal().string();
  return config;
}

models::Config resumed_config(const TrainOptions& options, const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name();
    const bool is_allowed =
        name == "--out" || name == "--resume" || name == "--epochs" || name == "--device";
    if (!is_allowed && !option->empty())
      throw CLI::ValidationError(fmt::format(
          "--resume goes on with the run as it was begun: leave out {}, or begin another run",
          name));
  }
  models::Config config;
  config.read(io::RunFolder::open(options.out).config_file());
  const CLI::Option* epochs = command.get_option("--epochs");
  if (epochs->empty()) return config;
  if (config.training.steps > 0)
    throw Error(fmt::format("{} ends after training.steps = {}: leave out --epochs",
                            options.out.string(), config.training.steps));
  const int before = config.training.epochs;
  config.set("training.epochs", epochs->results().front(), "--epochs");
  if (config.training.epochs < before)
    throw Error(fmt::format("{} was begun with {} epochs: --epochs can only raise them",
                            options.out.string(), before));
  return config;
}

void print_result(const fs::path& run, const models::Config& config) {
  const std::string name = shell_word(run);
  const fs::path scores = run / "scores.json";
  if (fs::exists(scores)) {
    std::ifstream file(scores);
    fmt::print("Students on the val split:\n{}\n", score_table(nlohmann::json::parse(file)));
  } else {
    fmt::print("The data set has no val split, so there are no scores.\n\n");
  }
  fmt::print("Report: {}\nTo go on:\n  anaphase segment --model {} --in IMAGES... --out MASKS\n",
             (run / "report.html").string(), name);
  fmt::print("  anaphase evaluate --model {} --data {}\n  anaphase report --run {}\n", name,
             shell_word(config.data.path), name);
}

void train(const TrainOptions& options, const CLI::App& command) {
  const models::Config config =
      options.resume ? resumed_config(options, command) : new_config(options);
  models::TrainRequest request{
      config, options.out, options.resume, engine::Device::parse(options.device), {}, &stop};
  catch_signals();
  models::TrainOutcome outcome{};
  {
    ProgressLine line;
    bool is_explained = false;
    request.progress = [&](const models::Progress& progress) {
      if (!std::exchange(is_explained, true)) explain_device(options.device);
      line.show(progress);
    };
    outcome = models::train(request);
  }
  io::write_report(options.out);
  if (outcome == models::TrainOutcome::stopped) {
    fmt::print(
        stderr,
        "anaphase: stopped with a checkpoint; go on with: anaphase train --out {} --resume\n",
        shell_word(options.out));
    throw CLI::RuntimeError(128 + stop_signal);
  }
  print_result(options.out, config);
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "train",
      "Train a model on a folder of images, a few of them labelled. The run folder gets the model, "
      "its configuration, checkpoints, metrics, scores on the val split and a report. Ctrl-C ends "
      "it with a checkpoint from which --resume goes on.\n\n"
      "Every option is a key of the configuration; what comes later wins: defaults, --preset, "
      "--config, --set, the other options.");
  const auto options = std::make_shared<TrainOptions>();
  const std::vector<Shortcut> all = shortcuts();
  options->values.resize(all.size());
  command->add_option("--out", options->out, "Run folder: new, or with --resume a run")
      ->required()
      ->type_name("RUN")
      ->group("Data");
  for (std::size_t i = 0; i < all.size(); ++i)
    options->given.push_back(command->add_option(all[i].option, options->values[i], all[i].text)
                                 ->type_name(all[i].type)
                                 ->default_str(all[i].default_text)
                                 ->group(all[i].group));
  command->add_option("--preset", options->preset, preset_help)
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Configuration");
  command
      ->add_option("--config", options->file,
                   "Read keys from a TOML file, like a run's config.toml")
      ->type_name("FILE")
      ->group("Configuration");
  add_settings(*command, options->settings)->group("Configuration");
  command->add_flag("--resume", options->resume, "Go on from the checkpoint of the run in --out")
      ->group("Training");
  add_device(*command, options->device);
  command->footer(
      "Examples:\n"
      "  anaphase train --data glands --out run --labels 10% --size 128\n"
      "  anaphase train --data glands --out base --method supervised --seed 1\n"
      "  anaphase train --out run --resume --epochs 400");
  command->callback([options, command] { train(*options, *command); });
}

}  // namespace anaphase::apps
