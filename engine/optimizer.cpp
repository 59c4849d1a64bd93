// SPDX-License-Identifier: Apache-2.0
#include "engine/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/elementwise/elementwise.hpp"
#include "kernels/optimizer/optimizer.hpp"

namespace anaphase::engine {
namespace {

/// The part [begin, end) of a flat tensor.
Tensor slice(const Tensor& flat, std::int64_t begin, std::int64_t end) {
  return {{end - begin}, flat.type(), flat.storage(), begin * kernels::size_of(flat.type())};
}

}  // namespace

double LearningRate::at(std::int64_t step) const {
  if (step < warmup) return base * static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
  const std::int64_t since = step - warmup;
  switch (kind) {
    case Kind::constant:
      return base;
    case Kind::step: {
      const std::int64_t drops = since / every;
      return base * std::pow(factor, static_cast<double>(drops));
    }
    case Kind::cosine: {
      const double length = static_cast<double>(std::max<std::int64_t>(total - warmup, 1));
      const double progress = std::min(static_cast<double>(since) / length, 1.0);
      return base * (1 + std::cos(std::numbers::pi * progress)) / 2;
    }
  }
  return base;
}

Optimizer::Optimizer(ParameterSet& parameters, const OptimizerOptions& options)
    : parameters_(parameters), options_(options) {
  parameters.materialise_gradients();
  const Device& device = parameters.values().device();
  const DType type = parameters.values().type();
  hyper_ = make_tensor(device, {kernels::Hyper::count}, type);
  norm_ = make_tensor(device, {1}, type);
  scale_ = make_tensor(device, {1}, type);
  first_ = make_tensor(device, {parameters.count()}, type);
  if (options.kind == OptimizerOptions::Kind::adamw)
    second_ = make_tensor(device, {parameters.count()}, type);
}

void Optimizer::zero_gradients(Tape& tape) const {
  const Tensor gradients = parameters_.gradients();
  tape.launch("fill", {}, {gradients}, [gradients] {
    return kernels::Fill{gradients.count(), gradients.type(), 0.0, gradients.data()};
  });
}

void Optimizer::update(Tape& tape) const {
  const DType type = parameters_.values().type();
  tape.launch("gradient_norm", {parameters_.gradients()}, {norm_, scale_},
              [type, limit = static_cast<float>(options_.clip_norm),
               gradients = parameters_.gradients(), norm = norm_, scale = scale_] {
                return kernels::GradientNorm{.count = gradients.count(),
                                             .type = type,
                                             .limit = limit,
                                             .gradient = gradients.data(),
                                             .norm = norm.data(),
                                             .scale = scale.data()};
              });
  const auto update_part = [&](std::int64_t begin, std::int64_t end, double weight_decay) {
    if (begin == end) return;
    const Tensor values = slice(parameters_.values(), begin, end);
    const Tensor gradients = slice(parameters_.gradients(), begin, end);
    const Tensor first = slice(first_, begin, end);
    if (options_.kind == OptimizerOptions::Kind::sgd) {
      tape.launch("sgd", {values, gradients, first, hyper_, scale_}, {values, first},
                  [=, hyper = hyper_, scale = scale_, options = options_] {
                    return kernels::Sgd{.count = values.count(),
                                        .type = type,
                                        .momentum = static_cast<float>(options.momentum),
                                        .weight_decay = static_cast<float>(weight_decay),
                                        .hyper = hyper.data(),
                                        .gradient_scale = scale.data(),
                                        .gradient = gradients.data(),
                                        .parameter = values.data(),
                                        .velocity = first.data()};
                  });
      return;
    }
    const Tensor second = slice(second_, begin, end);
    tape.launch("adamw", {values, gradients, first, second, hyper_, scale_},
                {values, first, second}, [=, hyper = hyper_, scale = scale_, options = options_] {
                  return kernels::AdamW{.count = values.count(),
                                        .type = type,
                                        .beta1 = static_cast<float>(options.beta1),
                                        .beta2 = static_cast<float>(options.beta2),
                                        .epsilon = static_cast<float>(options.epsilon),
                                        .weight_decay = static_cast<float>(weight_decay),
                                        .hyper = hyper.data(),
                                        .gradient_scale = scale.data(),
                                        .gradient = gradients.data(),
                                        .parameter = values.data(),
                                        .first = first.data(),
                                        .second = second.data()};
                });
  };
  update_part(0, parameters_.decayed_count(), options_.weight_decay);
  update_part(parameters_.decayed_count(), parameters_.count(), 0);
}

void Optimizer::prepare(std::int64_t step, double learning_rate) {
  const auto power = static_cast<double>(step + 1);
  upload(hyper_, std::vector<float>{static_cast<float>(learning_rate),
                                    static_cast<float>(1 - std::pow(options_.beta1, power)),
                                    static_cast<float>(1 - std::pow(options_.beta2, power))});
}

std::vector<Optimizer::State> Optimizer::state() const {
  if (options_.kind == OptimizerOptions::Kind::sgd) return {{"velocity", first_}};
  return {{"first_moment", first_}, {"second_moment", second_}};
}

MovingAverage::MovingAverage(ParameterSet& average, const ParameterSet& source, double decay)
    : average_(average), source_(source) {
  average_.copy_from(source_);
  decay_ = make_tensor(source.values().device(), {1}, source.values().type());
  upload(decay_, std::vector<float>{static_cast<float>(decay)});
}

void MovingAverage::update(Tape& tape) const {
  const auto average = [&](const Tensor& to, const Tensor& from) {
    tape.launch("moving_average", {to, from, decay_}, {to}, [to, from, decay = decay_] {
      return kernels::ExponentialAverage{to.count(), to.type(), decay.data(), from.data(),
                                         to.data()};
    });
  };
  average(average_.values(), source_.values());
  if (source_.buffers()) average(average_.buffers(), source_.buffers());
}

}  // namespace anaphase::engine
