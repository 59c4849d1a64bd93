// SPDX-License-Identifier: Apache-2.0
#include "models/training/steps.hpp"

#include <fmt/format.h>

#include "models/pathways.hpp"

namespace anaphase::models {
namespace {

using namespace engine;

BatchInput make_input(const Model& model, int batch, bool labelled) {
  const int size = model.config().data.size;
  const Device& device = model.device();
  return {make_tensor(device, {batch, size, size, model.facts().channels}, model.activation_type()),
          labelled ? make_tensor(device, {batch, size, size}, DType::i32) : Tensor{},
          make_tensor(device, {batch}, DType::u64)};
}

/// A trace that collects losses: terms are summed, then differentiated in one go.
class StepTrace {
 public:
  explicit StepTrace(Model& model) : trace_(model.device()), tape_(trace_) {}

  Tape& tape() { return tape_; }

  /// Adds weight * loss to the pending sum, times `factor` where that is given, and notes its value
  /// under `name` (terms of one name are added up).
  void add(const std::string& name, const Tensor& loss, double weight, const Tensor& factor = {}) {
    const Tensor term = add_scaled(tape_, loss, {}, weight, 0, factor);
    pending_ = pending_ ? add_scaled(tape_, pending_, term) : term;
    note(name, loss);
  }

  void differentiate() {
    tape_.backward(pending_);
    pending_ = {};
  }

  void note(const std::string& name, const Tensor& value) {
    const Tensor plain = value.detach();
    for (auto& [known, sum] : metrics_)
      if (known == name) {
        sum = add_scaled(tape_, sum, plain).detach();
        return;
      }
    metrics_.emplace_back(name, plain);
  }

  void zero_gradients(const Optimizers& optimizers) {
    for (const auto& optimizer : optimizers) optimizer->zero_gradients(tape_);
  }

  TrainingStep finish(TrainingStep step, const Optimizers& optimizers,
                      const MovingAverage* average = nullptr) {
    for (const auto& optimizer : optimizers) optimizer->update(tape_);
    if (average) average->update(tape_);
    std::vector<Tensor> results;
    for (const auto& [name, value] : metrics_) results.push_back(value);
    step.program = trace_.finish(results);
    step.metrics = std::move(metrics_);
    return step;
  }

 private:
  Trace trace_;
  Tape tape_;
  Tensor pending_;
  std::vector<std::pair<std::string, Tensor>> metrics_;
};

Tensor segmentation_loss(Tape& tape, const Model& model, const Tensor& logits,
                         const Tensor& labels) {
  const Tensor dice = dice_loss(tape, logits, labels);
  if (model.config().co_training.loss == "dice") return dice;
  return add_scaled(tape, dice, cross_entropy_loss(tape, logits, labels));
}

/// The class of the largest mean probability; it carries no gradient.
Tensor consensus(Tape& tape, const std::vector<Tensor>& logits, float confidence) {
  if (logits.size() == 1) return argmax(tape, logits.front(), {.confidence = confidence});
  Tensor mean;
  const double weight = 1.0 / static_cast<double>(logits.size());
  for (const Tensor& one : logits) {
    const Tensor probabilities = softmax(tape, one.detach());
    mean = mean ? add_scaled(tape, mean, probabilities, 1, weight)
                : add_scaled(tape, probabilities, {}, weight, 0);
  }
  return argmax(tape, mean, {.confidence = confidence, .probabilities = true});
}

/// The co-training losses of one batch, in docs/method.md's symbols. A labelled batch is pulled to
/// its labels, an unlabelled one to pseudo-labels; everything else is the same.
void co_training_losses(StepTrace& step, Model& model, const BatchInput& input,
                        const std::string& suffix, double weight, const Tensor& ramp) {
  const Config& config = model.config();
  const auto confidence = static_cast<float>(config.co_training.confidence);
  const bool is_labelled = static_cast<bool>(input.labels);
  Tape& tape = step.tape();
  Randomness random{input.keys};
  const auto add = [&](const std::string& name, const Tensor& loss, double scale) {
    step.add("loss_" + name + suffix, loss, scale * weight, ramp);
  };
  const auto segmentation = [&](const Tensor& logits, const Tensor& label) {
    return segmentation_loss(tape, model, logits, label);
  };

  std::vector<Tensor> s;
  s.reserve(model.student_count());
  for (int k = 0; k < model.student_count(); ++k)
    s.push_back(generate_mask(tape, model, model.student(k), input.image, random, true));
  const Tensor tau = generate_mask(tape, model, model.mask(), input.image, random, true);
  const Tensor students_label = is_labelled ? input.labels : consensus(tape, s, confidence);

  std::vector<Tensor> teacher_masks{tau};  // that the students learn from
  if (!is_labelled && model.has_average())
    teacher_masks = {generate_mask(tape, model, model.average(), input.image, random, false)};

  const auto rounds = [&] {
    const int count = config.rounds.count;
    Tensor mask = mask_signal(tape, tau.detach());
    for (int r = 0; r < count; ++r) {
      const Reconstruction rebuilt = reconstruct(tape, model, input.image, mask, random, 0, true);
      const Tensor tau_r = generate_mask(tape, model, model.mask(), rebuilt.rebuilt, random, true);
      const double round_weight = config.rounds.weight / count;
      if (config.rounds.reconstruction) add("reconstruction", rebuilt.loss, round_weight);
      add("alignment", segmentation(tau_r, students_label), round_weight);
      step.differentiate();
      if (config.rounds.mode == "sequential") mask = mask_signal(tape, tau_r.detach());
      teacher_masks.push_back(tau_r);
    }
  };
  const auto direct = [&] {
    const Tensor teacher_label =
        is_labelled ? input.labels : consensus(tape, teacher_masks, confidence);
    for (const Tensor& student : s) add("student", segmentation(student, teacher_label), 1);
    add("teacher", segmentation(tau, students_label), 1);
    for (std::size_t k = 0; !is_labelled && k < s.size(); ++k)
      for (std::size_t j = 0; j < s.size(); ++j)
        if (j != k)
          add("twin", segmentation(s[k], argmax(tape, s[j], {.confidence = confidence})),
              config.co_training.twin_weight);
    step.differentiate();
  };
  if (config.rounds.pseudo_label == "mean") {
    rounds();
    direct();
  } else {
    direct();
    rounds();
  }
}

}  // namespace

TrainingStep pretraining_step(Model& model, const Optimizers& optimizers, int batch) {
  TrainingStep result{.unlabelled = make_input(model, batch, false)};
  StepTrace step(model);
  Tape& tape = step.tape();
  step.zero_gradients(optimizers);
  const Tensor& image = result.unlabelled.image;
  Randomness random{result.unlabelled.keys};

  const Tensor logits = generate_mask(tape, model, model.mask(), image, random, true);
  const Reconstruction rebuilt = reconstruct(tape, model, image, mask_signal(tape, logits), random,
                                             model.config().pretrain.image_t_min, true);
  step.add("loss_cycle", rebuilt.loss, 1);

  const int classes = model.facts().classes;
  const Tensor prior = make_tensor(model.device(), {classes}, model.device().float_type());
  upload(prior, std::vector<float>(classes, 1.0F / static_cast<float>(classes)));
  const ClassUse use = class_use(tape, logits, prior);
  if (model.config().pretrain.balance > 0)
    step.add("loss_balance", use.loss, model.config().pretrain.balance);
  step.differentiate();
  step.note("class_use", use.use);
  step.note("mask_entropy", use.entropy);
  return step.finish(std::move(result), optimizers);
}

TrainingStep co_training_step(Model& model, const Optimizers& optimizers, int batch,
                              const MovingAverage* teacher_average) {
  TrainingStep result{.labelled = make_input(model, batch, true),
                      .unlabelled = make_input(model, batch, false),
                      .ramp = make_tensor(model.device(), {1}, model.device().float_type())};
  StepTrace step(model);
  step.zero_gradients(optimizers);
  co_training_losses(step, model, result.labelled, "_labelled", 1, {});
  co_training_losses(step, model, result.unlabelled, "_unlabelled",
                     model.config().co_training.unlabelled_weight, result.ramp);
  return step.finish(std::move(result), optimizers, teacher_average);
}

TrainingStep supervised_step(Model& model, const Optimizers& optimizers, int batch) {
  TrainingStep result{.labelled = make_input(model, batch, true)};
  StepTrace step(model);
  step.zero_gradients(optimizers);
  Randomness random{result.labelled.keys};
  for (int k = 0; k < model.student_count(); ++k) {
    const Tensor logits =
        generate_mask(step.tape(), model, model.student(k), result.labelled.image, random, true);
    step.add("loss_student_labelled",
             segmentation_loss(step.tape(), model, logits, result.labelled.labels), 1);
  }
  step.differentiate();
  return step.finish(std::move(result), optimizers);
}

}  // namespace anaphase::models
