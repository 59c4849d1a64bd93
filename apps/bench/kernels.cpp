// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>

#include "apps/bench/report.hpp"
#include "apps/bench/step.hpp"
#include "models/predictor.hpp"

namespace anaphase::apps::bench {
namespace {

struct Kernels {
  Options options;
  std::string program = "training";
};

/// "[4, 128, 128, 16] f32".
std::vector<std::string> texts(const std::vector<engine::Tensor>& tensors) {
  std::vector<std::string> result;
  for (const engine::Tensor& tensor : tensors)
    if (tensor)
      result.push_back(
          fmt::format("{} {}", engine::to_string(tensor.shape()), kernels::name_of(tensor.type())));
  return result;
}

/// The calls of a program, those of one name and of the same shapes together.
class Groups {
 public:
  /// After a repetition: what each call took.
  void add(const std::vector<engine::Call>& calls, const std::vector<double>& seconds) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const std::string key =
          fmt::format("{} {} {}", calls[i].name, texts(calls[i].reads), texts(calls[i].writes));
      Group& group = groups_.try_emplace(key, Group{calls[i], {}}).first->second;
      group.times.all.push_back(1e3 * seconds[i]);
    }
    ++repetitions_;
  }

  /// Those that take the most time first.
  std::vector<Json> rows() const {
    std::vector<Json> rows;
    double total = 0;
    for (const auto& [key, group] : groups_) {
      const std::vector<std::string> reads = texts(group.call.reads),
                                     writes = texts(group.call.writes);
      const auto calls = static_cast<int>(group.times.all.size()) / repetitions_;
      Json row{{"call", group.call.name},
               {"shapes", fmt::format("{} -> {}", reads.empty() ? "" : reads[0], writes[0])},
               {"reads", reads},
               {"writes", writes},
               {"calls", calls}};
      add_times(row, group.times);
      add_work(row, group.call.flops, group.call.bytes);
      row["ms_of_calls"] = calls * group.times.median();
      total += calls * group.times.median();
      rows.push_back(row);
    }
    for (Json& row : rows) row["percent_of_time"] = 100 * row["ms_of_calls"].get<double>() / total;
    std::sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
      return a["ms_of_calls"].get<double>() > b["ms_of_calls"].get<double>();
    });
    return rows;
  }

 private:
  struct Group {
    engine::Call call;
    Times times;  // of each call in each repetition
  };
  std::map<std::string, Group> groups_;
  int repetitions_ = 0;
};

/// `prepare` goes before every replay.
std::vector<Json> time_calls(engine::Program& program, const Options& options,
                             const std::function<void()>& prepare) {
  Groups groups;
  for (int i = -options.warmup; i < options.repetitions; ++i) {
    prepare();
    const std::vector<double> seconds = program.time_calls();
    if (i >= 0) groups.add(program.calls(), seconds);
  }
  return groups.rows();
}

std::vector<Json> time_training(const Options& options, models::Model& model) {
  Step step = network_step(model, options.batches.front());
  return time_calls(step.program, options, [&] { step.prepare(); });
}

std::vector<Json> time_sampling(const Options& options, models::Model& model) {
  const int size = model.config().data.size;
  const models::InferenceOptions inference{.with = model.has_teacher() ? "teacher" : "students",
                                           .steps = 2};
  models::Predictor predictor(model, inference, options.batches.front(), size, size,
                              model.device());
  engine::upload(predictor.images(), made_up_pixels(predictor.images().count()));
  return time_calls(predictor.step(), options, [&] { predictor.start(); });
}

void measure(const Kernels& kernels) {
  const Options& options = kernels.options;
  const engine::Device device = open_device(options);
  const bool is_training = kernels.program == "training";
  const bool is_fresh = options.model.empty();
  models::Model model = make_model(
      options, device, is_training && is_fresh ? network_keys() : Keys{{"network.dropout", "0"}});
  Report report{.benchmark = "kernels", .settings = settings_of(options, model)};
  report.settings.update({{"batch", options.batches.front()}, {"program", kernels.program}});
  report.title = fmt::format("Kernels of a {} step, batch {}; {}", kernels.program,
                             options.batches.front(), model_text(model));
  report.rows = is_training ? time_training(options, model) : time_sampling(options, model);
  report.columns = {{"call", "call"},      {"shapes", "first tensor read -> written"},
                    {"calls", "calls"},    {"ms", "ms", 3},
                    {"ms_min", "best", 3}, {"percent_of_time", "% of time", 1}};
  append(report.columns, rate_columns());
  io::Series sum{"% of time", {}};
  for (const Json& row : report.rows)
    sum.points.emplace_back(
        sum.points.size() + 1,
        row["percent_of_time"].get<double>() + (sum.points.empty() ? 0 : sum.points.back().second));
  report.charts = {
      {"Time in the costliest kernels", "kernels", "% of time", io::Scale::linear, {sum}}};
  finish(std::move(report), options, device, measure_ceilings(device, model.activation_type()));
}

}  // namespace

void add_kernels(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand(
      "kernels",
      "Time every kernel at the shapes of a network, call by call within a step of training or "
      "sampling.");
  const auto kernels = std::make_shared<Kernels>();
  kernels->options.batches = {4};
  add_options(*command, kernels->options);
  command->add_option("--batch", kernels->options.batches.front(), "Images at a time")
      ->check(CLI::Range(1, 4096).description(""))
      ->type_name("B")
      ->capture_default_str()
      ->group("Model");
  command
      ->add_option("--program", kernels->program,
                   "training (forward and backward pass, optimiser) or sampling")
      ->check(CLI::IsMember({"training", "sampling"}).description(""))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Model");
  command->footer(
      "Example:\n"
      "  anaphase bench kernels --preset paper --batch 8 --precision bf16 --html kernels.html");
  command->callback([kernels] { measure(*kernels); });
}

}  // namespace anaphase::apps::bench
