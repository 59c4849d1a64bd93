// SPDX-License-Identifier: Apache-2.0
#include "models/networks/layers.hpp"

namespace anaphase::models {

using engine::Activation;

Conv::Conv(engine::ParameterSet& set, const std::string& name, int in, int out, int kernel,
           int stride_)
    : stride(stride_), padding(kernel / 2) {
  const auto initial = engine::uniform_by_fan_in(static_cast<std::int64_t>(in) * kernel * kernel);
  weight = set.declare(name + ".weight", {out, kernel, kernel, in}, initial);
  bias = set.declare(name + ".bias", {out}, initial);
}

Tensor Conv::operator()(Tape& tape, const Tensor& x, const Tensor& residual) const {
  return engine::conv(tape, x, weight, bias,
                      {.stride = stride, .padding = padding, .residual = residual});
}

Linear::Linear(engine::ParameterSet& set, const std::string& name, int in, int out) {
  const auto initial = engine::uniform_by_fan_in(in);
  weight = set.declare(name + ".weight", {out, in}, initial);
  bias = set.declare(name + ".bias", {out}, initial);
}

Tensor Linear::operator()(Tape& tape, const Tensor& x, const Tensor& residual) const {
  return engine::linear(tape, x, weight, bias, residual);
}

GroupNorm::GroupNorm(engine::ParameterSet& set, const std::string& name, int channels) {
  gamma = set.declare(name + ".weight", {channels}, {.constant = 1});
  beta = set.declare(name + ".bias", {channels}, {});
}

Tensor GroupNorm::operator()(Tape& tape, const Tensor& x, Activation activation,
                             const Tensor& scale_shift) const {
  return engine::group_norm(tape, x, gamma, beta, groups, scale_shift, activation);
}

Norm::Norm(engine::ParameterSet& set, const std::string& name, int channels, bool batch_)
    : batch(batch_) {
  gamma = set.declare(name + ".weight", {channels}, {.constant = 1});
  beta = set.declare(name + ".bias", {channels}, {});
  if (!batch) return;
  running_mean = set.declare_buffer(name + ".running_mean", {channels}, 0);
  running_variance = set.declare_buffer(name + ".running_var", {channels}, 1);
}

Tensor Norm::operator()(Tape& tape, const Conv& conv, const Tensor& x, Activation activation,
                        bool training) const {
  if (!batch)
    return engine::activate(tape, engine::group_norm(tape, conv(tape, x), gamma, beta, 8),
                            activation);
  if (!training && tape.parameters_are_fixed()) {
    const engine::Layer folded = engine::fold_batch_norm(tape, conv.weight, conv.bias, gamma, beta,
                                                         running_mean, running_variance);
    return engine::conv(tape, x, folded.weight, folded.bias,
                        {.stride = conv.stride, .padding = conv.padding, .activation = activation});
  }
  return engine::batch_norm(tape, conv(tape, x), gamma, beta, running_mean, running_variance,
                            {.training = training, .activation = activation});
}

TimeEmbedding::TimeEmbedding(engine::ParameterSet& set, const std::string& name, int channels_,
                             int hidden, int out, Activation activation_)
    : channels(channels_),
      first(set, name + ".0", channels_, hidden),
      second(set, name + ".2", hidden, out),
      activation(activation_) {}

Tensor TimeEmbedding::operator()(Tape& tape, const Tensor& t, DType type) const {
  Tensor h = engine::timestep_embedding(tape, t, channels, type);  // [N, channels]
  h = engine::activate(tape, first(tape, h), activation);          // [N, hidden]
  return second(tape, h);                                          // [N, out]
}

}  // namespace anaphase::models
