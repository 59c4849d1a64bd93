// SPDX-License-Identifier: Apache-2.0
#include "models/training/trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "io/atomic_file.hpp"
#include "kernels/common/error.hpp"
#include "kernels/common/philox.hpp"
#include "models/training/evaluation.hpp"
#include "models/training/manifest.hpp"
#include "models/training/pictures.hpp"
#include "models/weights.hpp"

namespace anaphase::models {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Everything that one stage needs.
struct Stage {
  std::string name;
  std::vector<std::string> networks = {};  // that are trained, by prefix
  Optimizers optimizers = {};              // one a network
  TrainingStep step = {};
  std::optional<BatchSampler> labelled = {}, unlabelled = {};
  engine::LearningRate learning_rate = {};
  std::int64_t steps = 0, steps_per_epoch = 1;

  std::int64_t epochs() const { return (steps + steps_per_epoch - 1) / steps_per_epoch; }
};

/// Sums of a step's metrics over an epoch.
class Averages {
 public:
  void add(const TrainingStep& step) {
    loss_ = 0;
    for (const auto& [name, tensor] : step.metrics) {
      const std::vector<float> values = engine::download(tensor);
      for (std::size_t i = 0; i < values.size(); ++i)
        at(values.size() == 1 ? name : fmt::format("{}_{}", name, i)) += values[i];
      if (name.starts_with("loss")) loss_ += values.front();
    }
    ++steps_;
  }
  double last_loss() const { return loss_; }

  io::MetricRow finish() {
    io::MetricRow row;
    for (auto& [name, sum] : sums_) row.emplace_back(name, sum / steps_);
    *this = {};
    return row;
  }

 private:
  double& at(const std::string& name) {
    for (auto& [known, sum] : sums_)
      if (known == name) return sum;
    return sums_.emplace_back(name, 0.0).second;
  }

  std::vector<std::pair<std::string, double>> sums_;
  double steps_ = 0, loss_ = 0;
};

class Trainer {
 public:
  explicit Trainer(const TrainRequest& request)
      : request_(request),
        config_(request.config),
        data_(load_training_data(config_)),
        model_(request.device, config_, data_.facts),
        folder_(request.resume ? io::RunFolder::open(request.run)
                               : io::RunFolder::create(request.run, config_.to_toml())) {
    if (request.resume) folder_.write_config(config_.to_toml());
    write_manifest(folder_.path() / "manifest.json", model_, data_);
  }

  TrainOutcome run() {
    load_checkpoint();
    if (config_.training.method == "supervised") {
      if (!run_stage("supervised", [&] { return supervised_stage(); }))
        return TrainOutcome::stopped;
    } else {
      if (config_.pretrain.epochs > 0 &&
          !run_stage("pretrain", [&] { return pretraining_stage(); }))
        return TrainOutcome::stopped;
      if (!run_stage("co-training", [&] { return co_training_stage(); }))
        return TrainOutcome::stopped;
    }
    finish();
    return TrainOutcome::finished;
  }

 private:
  std::uint64_t seed_of(std::string_view purpose) const {
    std::uint64_t key = config_.training.seed;
    for (const char c : purpose) key = kernels::mix_key(key, static_cast<unsigned char>(c));
    return key;
  }

  void add_optimizers(Stage& stage, std::vector<std::string> networks) {
    engine::OptimizerOptions options;
    options.kind = config_.training.optimizer == "sgd" ? engine::OptimizerOptions::Kind::sgd
                                                       : engine::OptimizerOptions::Kind::adamw;
    options.weight_decay = config_.training.weight_decay;
    options.clip_norm = config_.training.clip_norm;
    for (const std::string& prefix : networks)
      stage.optimizers.push_back(
          std::make_unique<engine::Optimizer>(model_.network(prefix).parameters(), options));
    stage.networks = std::move(networks);
  }

  std::vector<std::string> student_names() {
    std::vector<std::string> names;
    names.reserve(model_.student_count());
    for (int k = 0; k < model_.student_count(); ++k) names.push_back(Model::student_prefix(k));
    return names;
  }

  void set_schedule(Stage& stage, double base) {
    using Kind = engine::LearningRate::Kind;
    const std::string& schedule = config_.training.schedule;
    stage.learning_rate.kind = schedule == "cosine" ? Kind::cosine
                               : schedule == "step" ? Kind::step
                                                    : Kind::constant;
    stage.learning_rate.base = base;
    stage.learning_rate.total = stage.steps;
    stage.learning_rate.warmup =
        std::lround(config_.training.warmup * static_cast<double>(stage.steps));
    stage.learning_rate.every = std::max<std::int64_t>(stage.steps / 4, 1);
  }

  Stage pretraining_stage() {
    Stage stage{.name = "pretrain"};
    add_optimizers(stage, {"teacher.mask.", "teacher.image."});
    stage.step = pretraining_step(model_, stage.optimizers, config_.training.batch);
    stage.unlabelled.emplace(all_of(data_.train), config_.training.batch, seed_of("pretrain"));
    stage.steps_per_epoch = stage.unlabelled->steps_per_epoch();
    stage.steps = stage.steps_per_epoch * config_.pretrain.epochs;
    set_schedule(stage, config_.pretrain.learning_rate);
    return stage;
  }

  /// Labelled images and the length of training are the same for every method of a seed.
  void add_labelled(Stage& stage) {
    stage.labelled.emplace(data_.labelled, config_.training.batch, seed_of("labelled"));
    stage.steps_per_epoch = stage.labelled->steps_per_epoch();
    stage.steps = config_.training.steps > 0 ? config_.training.steps
                                             : stage.steps_per_epoch * config_.training.epochs;
    set_schedule(stage, config_.training.learning_rate);
  }

  Stage supervised_stage() {
    Stage stage{.name = "supervised"};
    add_optimizers(stage, student_names());
    stage.step = supervised_step(model_, stage.optimizers, config_.training.batch);
    add_labelled(stage);
    return stage;
  }

  Stage co_training_stage() {
    Stage stage{.name = "co-training"};
    std::vector<std::string> networks = student_names();
    networks.insert(networks.end(), {"teacher.mask.", "teacher.image."});
    add_optimizers(stage, std::move(networks));
    if (model_.has_average())
      average_.emplace(model_.average().parameters(), model_.mask().parameters(),
                       config_.co_training.teacher_average);
    stage.step = co_training_step(model_, stage.optimizers, config_.training.batch,
                                  average_ ? &*average_ : nullptr);
    stage.unlabelled.emplace(data_.unlabelled, config_.training.batch, seed_of("unlabelled"));
    add_labelled(stage);
    return stage;
  }

  /// Whether the checkpoint was written in a later stage than `name`.
  bool is_behind(const std::string& name) const {
    return checkpoint_ && name == "pretrain" && checkpoint_->metadata().at("stage") != "pretrain";
  }

  /// False when it was stopped on the way.
  template <class MakeStage>
  bool run_stage(const std::string& name, MakeStage make_stage) {
    if (is_behind(name)) return true;
    Stage stage = make_stage();
    std::int64_t step = 0;
    if (checkpoint_ && checkpoint_->metadata().at("stage") == name)
      step = restore_optimizers(stage);
    checkpoint_.reset();

    const std::int64_t epochs = stage.epochs();
    const std::int64_t validations = std::max<std::int64_t>(config_.training.validations, 1);
    const std::int64_t interval = std::max<std::int64_t>(epochs / validations, 1);
    Averages averages;
    auto epoch_start = Clock::now();
    double rate = 0;
    prepare_step(stage, step);
    for (; step < stage.steps; ++step) {
      const auto step_start = Clock::now();
      stage.step.program.replay();
      prepare_step(stage, step + 1);  // while a GPU works on this one
      averages.add(stage.step);
      const double seconds = seconds_since(step_start);
      rate = rate == 0 ? 1 / seconds : 0.9 * rate + 0.1 / seconds;
      const std::int64_t epoch = step / stage.steps_per_epoch;
      if (request_.progress)
        request_.progress({stage.name, step + 1, stage.steps, epoch + 1, epochs, rate,
                           averages.last_loss(), dice_});

      const bool is_last = step + 1 == stage.steps;
      const bool stop = request_.stop && *request_.stop;
      const bool epoch_ends = is_last || (step + 1) % stage.steps_per_epoch == 0;
      if (stop && !epoch_ends) {
        save_checkpoint(stage, step + 1);
        return false;
      }
      if (!epoch_ends) continue;
      io::MetricRow row{{"kind", "train"},
                        {"stage", stage.name},
                        {"epoch", epoch + 1},
                        {"step", step + 1},
                        {"learning_rate", stage.learning_rate.at(step)}};
      for (auto& value : averages.finish()) row.push_back(std::move(value));
      row.emplace_back("seconds", seconds_since(epoch_start));
      folder_.append_metrics(row);
      epoch_start = Clock::now();
      if (is_last || (epoch + 1) % interval == 0) {
        if (config_.training.validations > 0 || is_last) validate(stage, epoch + 1);
        if (!stop) save_checkpoint(stage, step + 1);
      }
      if (stop) {
        save_checkpoint(stage, step + 1);
        return false;
      }
    }
    return true;
  }

  /// Uploads what the step's replay reads.
  void prepare_step(Stage& stage, std::int64_t step) {
    if (step >= stage.steps) return;
    if (stage.labelled) stage.labelled->fill(step, config_, stage.step.labelled);
    if (stage.unlabelled) stage.unlabelled->fill(step, config_, stage.step.unlabelled);
    if (stage.step.ramp) {
      const std::int64_t epoch = step / stage.steps_per_epoch;
      const double ramp = static_cast<double>(epoch + 1) / static_cast<double>(stage.epochs());
      engine::upload(stage.step.ramp, std::vector<float>{static_cast<float>(ramp)});
    }
    for (auto& optimizer : stage.optimizers) optimizer->prepare(step, stage.learning_rate.at(step));
  }

  /// Scores on the val split and on held-out images; pseudo-labels round by round. Keeps the best
  /// model where held-out images pick it.
  void validate(const Stage& stage, std::int64_t epoch) {
    const auto start = Clock::now();
    io::MetricRow row{{"kind", "validation"}, {"stage", stage.name}, {"epoch", epoch}};
    const int classes = data_.facts.classes;
    const auto score = [&](const std::string& who, const Samples& samples) {
      return evaluate(predictor(who), samples, classes);
    };
    const Samples val = all_of(data_.val);
    if (!val.empty() && stage.name != "pretrain") {
      const Evaluation students = score("students", val);
      dice_ = students.summary.mean.dice;
      row.emplace_back("student_dice", dice_);
      row.emplace_back("student_jaccard", students.summary.mean.jaccard);
    }
    if (!val.empty() && model_.has_teacher())
      row.emplace_back("teacher_dice", score("teacher", val).summary.mean.dice);
    if (!data_.held_out.empty() && stage.name != "pretrain") {
      const double held_out = score("students", data_.held_out).summary.mean.dice;
      row.emplace_back("held_out_dice", held_out);
      if (held_out > best_) {
        best_ = held_out;
        model_.save(folder_.model());
      }
    }
    if (model_.has_teacher() && has_masks(data_.unlabelled)) {
      if (!labeller_)
        labeller_.emplace(model_, prediction_batch, config_.data.size, config_.data.size);
      const auto dice = pseudo_label_dice(*labeller_, data_.unlabelled, prediction_batch, classes);
      for (std::size_t r = 0; r < dice.size(); ++r)
        row.emplace_back(fmt::format("pseudo_label_dice_{}", r), dice[r]);
    }
    folder_.append_metrics(row);
    folder_.append_metrics(
        {{"kind", "timing"}, {"name", "validation"}, {"seconds", seconds_since(start)}});
  }

  static bool has_masks(const Samples& samples) {
    return std::any_of(samples.begin(), samples.end(),
                       [](const auto* sample) { return !sample->mask.labels.empty(); });
  }

  Predictor& predictor(const std::string& who) {
    auto& slot = who == "teacher" ? teacher_predictor_ : student_predictor_;
    if (!slot) {
      InferenceOptions options = config_.inference;
      options.with = who;
      slot.emplace(model_, options, prediction_batch, config_.data.size, config_.data.size);
    }
    slot->parameters_changed();
    return *slot;
  }

  void save_checkpoint(const Stage& stage, std::int64_t step) {
    io::SafeTensors file = model_.to_file();
    for (std::size_t i = 0; i < stage.optimizers.size(); ++i)
      for (const auto& state : stage.optimizers[i]->state())
        store_flat(file, "optimizer." + stage.networks[i] + state.name, state.tensor);
    file.metadata["stage"] = stage.name;
    file.metadata["step"] = std::to_string(step);
    file.metadata["best_dice"] = fmt::format("{}", best_);
    file.metadata["metrics_size"] = std::to_string(folder_.metrics_size());
    folder_.save_checkpoint(file);
    folder_.write_metrics_table();
  }

  void load_checkpoint() {
    if (!request_.resume || !std::filesystem::exists(folder_.checkpoint())) {
      if (request_.resume) folder_.truncate_metrics(0);
      return;
    }
    checkpoint_.emplace(folder_.checkpoint());
    for (const char* key : {"stage", "step", "best_dice", "metrics_size"})
      if (!checkpoint_->metadata().contains(key))
        throw Error(
            fmt::format("{} is no checkpoint (no '{}'): use checkpoint.previous.safetensors",
                        folder_.checkpoint().string(), key));
    model_.restore_from(*checkpoint_);
    best_ = std::stod(checkpoint_->metadata().at("best_dice"));
    folder_.truncate_metrics(std::stoull(checkpoint_->metadata().at("metrics_size")));
  }

  std::int64_t restore_optimizers(Stage& stage) {
    for (std::size_t i = 0; i < stage.optimizers.size(); ++i)
      for (const auto& state : stage.optimizers[i]->state())
        restore_flat(*checkpoint_, "optimizer." + stage.networks[i] + state.name, state.tensor);
    if (average_)  // its constructor started it anew
      models::restore(*checkpoint_, "teacher.mask_average.", model_.average().parameters());
    return std::stoll(checkpoint_->metadata().at("step"));
  }

  void finish() {
    if (data_.held_out.empty()) model_.save(folder_.model());
    folder_.write_metrics_table();
    if (data_.val.empty()) return;
    Model best = Model::load(model_.device(), folder_.model());
    InferenceOptions options = config_.inference;
    options.with = "students";
    Predictor students(best, options, prediction_batch, config_.data.size, config_.data.size);
    const Evaluation scores = evaluate(students, all_of(data_.val), data_.facts.classes);
    io::write_file_atomically(folder_.path() / "scores.json", to_json(scores));
    write_pictures(folder_.path() / "samples", best, data_.val, scores);
  }

  static constexpr int prediction_batch = 8;

  TrainRequest request_;
  Config config_;
  TrainingData data_;
  Model model_;
  io::RunFolder folder_;  // made last: data that cannot be used leave no run behind
  std::optional<engine::MovingAverage> average_;
  std::optional<Predictor> student_predictor_, teacher_predictor_;
  std::optional<PseudoLabeller> labeller_;
  std::optional<io::SafeTensorsFile> checkpoint_;
  double best_ = -1, dice_ = -1;
};

}  // namespace

TrainOutcome train(const TrainRequest& request) {
  return Trainer(request).run();
}

}  // namespace anaphase::models
