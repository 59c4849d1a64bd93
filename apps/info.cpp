// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <omp.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/build.hpp"
#include "apps/commands.hpp"
#include "apps/settings.hpp"
#include "models/pathways.hpp"
#include "models/training/steps.hpp"

namespace anaphase::apps {
namespace {

struct InfoOptions {
  std::filesystem::path model;
  std::string preset = "tiny";
  std::vector<std::string> settings;
  int size = models::Config().data.size, batch = models::Config().training.batch;
  std::vector<const CLI::Option*> of_plan;  // any of them asks for the plan
};

void print_build() {
  for (const auto& [name, value] : build_facts()) fmt::print("{:<12}{}\n", name, value);
  fmt::print("{:<12}{}\n", "threads", omp_get_max_threads());
  fmt::print("\nDevices\n");
  for (const auto& [name, text] : engine::describe_devices())
    fmt::print("  {:<10}{}\n", name, text);
}

void print_plan(const std::string& name, const engine::Program& program) {
  double all = 0, onednn = 0;
  for (const auto& [call, flops] : program.work()) {
    all += flops;
    if (call.starts_with("conv_") || call.starts_with("linear_")) onednn += flops;
  }
  const engine::MemoryPlan& plan = program.plan();
  constexpr double mib = 0x1p20;
  fmt::print("{:<22}{:>7}{:>9}{:>11.1f}{:>11.1f}{:>10.2f}{:>9.1f}%\n", name, plan.calls,
             plan.buffers, static_cast<double>(plan.peak_bytes) / mib,
             static_cast<double>(plan.total_bytes) / mib, all / 1e9, 100 * onednn / all);
}

models::Optimizers optimizers_of(models::Model& model, const std::vector<std::string>& prefixes) {
  models::Optimizers optimizers;
  for (const std::string& prefix : prefixes)
    optimizers.push_back(std::make_unique<engine::Optimizer>(model.network(prefix).parameters(),
                                                             engine::OptimizerOptions{}));
  return optimizers;
}

std::vector<std::string> students_of(models::Model& model) {
  std::vector<std::string> prefixes;
  prefixes.reserve(model.student_count());
  for (int k = 0; k < model.student_count(); ++k)
    prefixes.push_back(models::Model::student_prefix(k));
  return prefixes;
}

/// One student, one step.
engine::Program inference_program(models::Model& model, int batch) {
  using namespace models;
  const int size = model.config().data.size;
  const Tensor image = engine::make_tensor(
      model.device(), {batch, size, size, model.facts().channels}, model.activation_type());
  Randomness random{engine::make_tensor(model.device(), {batch}, DType::u64)};
  engine::Trace trace(model.device());
  Tape tape(trace, Tape::Mode::infer);
  const Tensor probabilities =
      engine::softmax(tape, generate_mask(tape, model, model.student(0), image, random, false,
                                          model.config().diffusion.steps - 1));
  return trace.finish({probabilities});
}

void print_plans(const models::Config& wanted) {
  const models::DataFacts facts{.mean = {0.5F, 0.5F, 0.5F}, .std = {0.25F, 0.25F, 0.25F}};
  const int batch = wanted.training.batch;
  models::Config config = wanted;
  config.training.method = "co-training";
  models::Model model(engine::Device::cpu(), config, facts);
  fmt::print(
      "\n{} network of width {}, {} classes, {} channels, {} x {} pixels, batch {}, {}: {} "
      "parameters\n\n",
      config.network.architecture, config.network.width, facts.classes, facts.channels,
      config.data.size, config.data.size, batch, config.training.precision,
      model.parameter_count());
  fmt::print("{:<22}{:>7}{:>9}{:>11}{:>11}{:>10}{:>10}\n", "program", "calls", "buffers",
             "plan MiB", "sum MiB", "GFLOP", "oneDNN");
  const std::vector<std::string> teacher = {"teacher.mask.", "teacher.image."};
  {
    const models::Optimizers optimizers = optimizers_of(model, teacher);
    print_plan("pretraining step", models::pretraining_step(model, optimizers, batch).program);
  }
  {
    std::vector<std::string> all = students_of(model);
    all.insert(all.end(), teacher.begin(), teacher.end());
    const models::Optimizers optimizers = optimizers_of(model, all);
    print_plan("co-training step",
               models::co_training_step(model, optimizers, batch, nullptr).program);
  }
  {
    config.training.method = "supervised";
    models::Model baseline(engine::Device::cpu(), config, facts);
    const models::Optimizers optimizers = optimizers_of(baseline, students_of(baseline));
    print_plan("supervised step", models::supervised_step(baseline, optimizers, batch).program);
  }
  print_plan("one-step inference", inference_program(model, batch));
  fmt::print(
      "\nplan: the block that a program's buffers share by lifetime; sum: what they would take "
      "without sharing.\noneDNN: share of the floating-point operations in its convolutions and "
      "matrix products.\n");
}

void print_model(const std::filesystem::path& path) {
  // Nothing is computed: the device that takes models of every precision will do.
  models::Model model = models::Model::load(engine::Device::reference(), path);
  const models::DataFacts& facts = model.facts();
  fmt::print("# {} parameters; {} classes, {} channels\n", model.parameter_count(), facts.classes,
             facts.channels);
  for (const std::string& prefix : model.prefixes())
    fmt::print("# {} {} parameters\n", prefix, model.parameter_count(prefix));
  fmt::print("# pixel mean {:.4f}, deviation {:.4f}\n\n{}", fmt::join(facts.mean, " "),
             fmt::join(facts.std, " "), model.config().to_toml());
}

void info(const InfoOptions& options) {
  if (!options.model.empty()) return print_model(options.model);
  print_build();
  bool is_plan_wanted = false;
  for (const CLI::Option* option : options.of_plan) is_plan_wanted |= !option->empty();
  if (!is_plan_wanted) return;
  models::Config config;
  config.apply_preset(options.preset);
  apply_settings(config, options.settings);
  if (!options.of_plan[0]->empty()) config.set("data.size", std::to_string(options.size), "--size");
  if (!options.of_plan[1]->empty())
    config.set("training.batch", std::to_string(options.batch), "--batch");
  print_plans(config);
}

}  // namespace

void add_info(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "info",
      "Show version, build, devices, and what training needs: with --preset the memory plan and "
      "the work of every kind of step. With --model, what a model file says about itself.");
  const auto options = std::make_shared<InfoOptions>();
  options->of_plan = {command->add_option("--size", options->size, "Width and height of the images")
                          ->type_name("PX")
                          ->capture_default_str()
                          ->group("Memory plan"),
                      command->add_option("--batch", options->batch, "Images of a step")
                          ->type_name("B")
                          ->capture_default_str()
                          ->group("Memory plan"),
                      command->add_option("--preset", options->preset, preset_help)
                          ->type_name("NAME")
                          ->capture_default_str()
                          ->group("Memory plan"),
                      add_settings(*command, options->settings)->group("Memory plan")};
  command->add_option("--model", options->model, "Run folder, or a model file (model.safetensors)")
      ->type_name("RUN|FILE")
      ->group("Model");
  command->footer(
      "Examples:\n"
      "  anaphase info --preset small --size 256 --batch 4\n"
      "  anaphase info --model run");
  command->callback([options] { info(*options); });
}

}  // namespace anaphase::apps
