// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "engine/ops/ops.hpp"
#include "engine/parameters.hpp"

namespace anaphase::models {

using engine::DType;
using engine::Shape;
using engine::Tape;
using engine::Tensor;

/// Where a program's random numbers come from: one key a sample, and a number for each random
/// operation, handed out in the order of the trace (kernels/common/philox.hpp).
struct Randomness {
  Tensor keys;  // [N] uint64
  std::uint32_t next_draw = 0;

  std::uint32_t draw() { return next_draw++; }
};

struct NetworkOptions {
  std::string architecture = "unet";  // unet | plain
  int in_channels = 1;
  int out_channels = 2;
  int width = 16;
  bool time = true;            // takes a timestep
  std::string norm = "batch";  // of plain: batch | group
  double dropout = 1;          // of plain: multiplies its rates
};

/// An image-to-image network: x [N, H, W, in_channels] and timesteps t [N] (empty for a network
/// without time) -> [N, H, W, out_channels].
class Network {
 public:
  explicit Network(const NetworkOptions& options) : options_(options) {}
  virtual ~Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// `training` turns dropout and batch statistics on.
  virtual Tensor forward(Tape& tape, const Tensor& x, const Tensor& t, Randomness& random,
                         bool training) const = 0;

  const NetworkOptions& options() const { return options_; }
  engine::ParameterSet& parameters() { return parameters_; }
  const engine::ParameterSet& parameters() const { return parameters_; }

 protected:
  engine::ParameterSet parameters_;

 private:
  NetworkOptions options_;
};

/// A network with its parameters declared; they get memory from parameters().materialise().
std::unique_ptr<Network> make_network(const NetworkOptions& options);

}  // namespace anaphase::models
