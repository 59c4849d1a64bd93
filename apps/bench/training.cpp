// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>

#include "apps/bench/report.hpp"
#include "apps/bench/step.hpp"
#include "kernels/common/error.hpp"

namespace anaphase::apps::bench {
namespace {

constexpr int dumped_losses = 5;

struct Training {
  Options options;
  std::string method = "network";
};

void fill(const models::BatchInput& input, const models::Model& model) {
  if (!input.image) return;
  engine::upload(input.image, made_up_pixels(input.image.count()));
  engine::upload(input.keys, std::vector<std::uint64_t>(input.keys.count(), 7));
  if (input.labels)
    engine::upload(input.labels, made_up_labels(static_cast<int>(input.labels.dim(0)),
                                                model.config().data.size, model.facts().classes));
}

/// A step of the method itself, with all its networks.
Step method_step(models::Model& model, const std::string& method, int batch) {
  Step step{optimizers_of(model, method == "pretraining" ? "teacher." : "")};
  models::TrainingStep traced =
      method == "pretraining"  ? models::pretraining_step(model, step.optimizers, batch)
      : method == "supervised" ? models::supervised_step(model, step.optimizers, batch)
                               : models::co_training_step(model, step.optimizers, batch, nullptr);
  fill(traced.labelled, model);
  fill(traced.unlabelled, model);
  if (traced.ramp) engine::upload(traced.ramp, std::vector<float>{0.5F});
  step.program = std::move(traced.program);
  return step;
}

/// Takes the first steps and says what came of them.
io::SafeTensors dump(Step& step) {
  const auto labels = [](const engine::Tensor& tensor) {
    return dumped(tensor.shape(), engine::download_labels(tensor));
  };
  io::SafeTensors file;
  file.tensors = {{"input", dumped(step.input.shape(), engine::download(step.input))},
                  {"timestep", labels(step.timestep)},
                  {"labels", labels(step.labels)}};
  std::vector<float> losses;
  for (int i = 0; i < dumped_losses; ++i) {
    step();
    losses.push_back(static_cast<float>(engine::download_scalar(step.loss)));
  }
  file.tensors["losses"] = dumped({dumped_losses}, losses);
  file.metadata = {{"network", step.network},
                   {"lr", fmt::format("{}", learning_rate)},
                   {"beta1", fmt::format("{}", adamw.beta1)},
                   {"beta2", fmt::format("{}", adamw.beta2)},
                   {"epsilon", fmt::format("{}", adamw.epsilon)},
                   {"weight_decay", fmt::format("{}", adamw.weight_decay)}};
  return file;
}

void train(const Training& training) {
  const Options& options = training.options;
  const bool is_network = training.method == "network";
  if (!options.dump.empty() && !is_network)
    throw CLI::ValidationError("--dump goes with --method network alone");
  const engine::Device device = open_device(options);
  Keys keys{{"network.dropout", "0"}};
  if (is_network && options.model.empty()) keys = network_keys();
  if (training.method == "supervised") keys.emplace_back("training.method", "supervised");
  models::Model model = make_model(options, device, keys);
  if (!model.has_teacher() && training.method != "supervised" && !is_network)
    throw Error(
        "this model has no teacher (it was trained with --method supervised): use --method "
        "supervised or network");
  if (!options.weights.empty()) model.save(options.weights);

  Report report{.benchmark = "training", .settings = settings_of(options, model)};
  report.settings["method"] = training.method;
  report.title = fmt::format("Training steps ({}); {}", training.method, model_text(model));
  for (const int batch : options.batches) {
    Step step =
        is_network ? network_step(model, batch) : method_step(model, training.method, batch);
    if (!options.dump.empty()) io::write_safetensors(options.dump, dump(step));
    const Times times = repeat(options, device, [&] { step(); });

    Json row{{"batch", batch}};
    add_times(row, times);
    row["steps_per_second"] = 1e3 / times.median();
    row["images_per_second"] = 1e3 * batch / times.median();
    add_work(row, flops_of(step.program), bytes_of(step.program));
    add_memory(row, step.program.plan());
    report.charts.push_back(chart_of(times, fmt::format("Batches of {}", batch)));
    if (options.profile) {
      row["calls"] = profile_rows(step.program.profile());
      report.tables.push_back(
          {fmt::format("A step, batch {}", batch), profile_columns(), row["calls"]});
    }
    report.rows.push_back(row);
  }
  report.columns = {{"batch", "batch"}};
  append(report.columns, time_columns());
  append(report.columns,
         {{"steps_per_second", "steps/s", 2}, {"images_per_second", "images/s", 2}});
  append(report.columns, rate_columns());
  append(report.columns, memory_columns());
  finish(std::move(report), options, device, measure_ceilings(device, model.activation_type()));
}

}  // namespace

void add_training(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand(
      "training",
      "Time optimiser steps: forward pass, losses, backward pass and AdamW as one program. The "
      "input stays the same; the weights change, as in training.");
  const auto training = std::make_shared<Training>();
  training->options.batches = {4};
  add_options(*command, training->options);
  add_paced(*command, training->options);
  add_batches(*command, training->options);
  add_files(*command, training->options,
            "input, timesteps, labels, and the losses of the first five steps");
  add_profile(*command, training->options);
  command
      ->add_option("--method", training->method,
                   "What a step trains: network (one network, cross-entropy and Dice, no dropout), "
                   "pretraining, co-training (with as many unlabelled images) or supervised: the "
                   "whole steps of `anaphase train`, without dropout")
      ->check(
          CLI::IsMember({"network", "pretraining", "co-training", "supervised"}).description(""))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Training");
  command->footer(
      "Examples:\n"
      "  anaphase bench training --preset tiny --batch 4 --profile\n"
      "  anaphase bench training --method co-training --set rounds.count=2 --precision bf16");
  command->callback([training] { train(*training); });
}

}  // namespace anaphase::apps::bench
