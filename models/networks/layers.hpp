// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "models/networks/network.hpp"

// Layers: a few parameters with the operation they belong to. Parameter names are those that
// PyTorch modules of the same structure have ("conv1.weight", "norm1.bias", …).

namespace anaphase::models {

struct Conv {
  Tensor weight, bias;
  int stride = 1, padding = 0;

  Conv() = default;
  Conv(engine::ParameterSet& set, const std::string& name, int in, int out, int kernel,
       int stride = 1);
  Tensor operator()(Tape& tape, const Tensor& x, const Tensor& residual = {}) const;
};

struct Linear {
  Tensor weight, bias;

  Linear() = default;
  Linear(engine::ParameterSet& set, const std::string& name, int in, int out);
  Tensor operator()(Tape& tape, const Tensor& x, const Tensor& residual = {}) const;
};

struct GroupNorm {
  Tensor gamma, beta;
  int groups = 8;

  GroupNorm() = default;
  GroupNorm(engine::ParameterSet& set, const std::string& name, int channels);
  Tensor operator()(Tape& tape, const Tensor& x,
                    engine::Activation activation = engine::Activation::none,
                    const Tensor& scale_shift = {}) const;
};

/// Batch norm or group norm, by option, of a convolution, with relu or leaky relu after it.
struct Norm {
  Tensor gamma, beta, running_mean, running_variance;
  bool batch = true;

  Norm() = default;
  Norm(engine::ParameterSet& set, const std::string& name, int channels, bool batch);
  /// Of what `conv` makes of x. A batch norm of constant statistics becomes part of the convolution
  /// where parameters are fixed.
  Tensor operator()(Tape& tape, const Conv& conv, const Tensor& x, engine::Activation activation,
                    bool training) const;
};

/// Sinusoidal embedding of t, then linear, activation, linear: [N] -> [N, out].
struct TimeEmbedding {
  int channels = 0;
  Linear first, second;
  engine::Activation activation = engine::Activation::silu;

  TimeEmbedding() = default;
  TimeEmbedding(engine::ParameterSet& set, const std::string& name, int channels, int hidden,
                int out, engine::Activation activation);
  Tensor operator()(Tape& tape, const Tensor& t, DType type) const;
};

}  // namespace anaphase::models
