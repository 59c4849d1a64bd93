// SPDX-License-Identifier: Apache-2.0
#include "models/networks/plain.hpp"

#include <array>
#include <vector>

#include <fmt/format.h>

#include "kernels/common/error.hpp"
#include "models/networks/layers.hpp"

// A stem and four stages of max-pool and two 3x3 convolutions (channels: width x 1, 1, 2, 4, 8),
// leaky relu and dropout on the way down; 1x1 convolution, bilinear x2 with aligned corners, skip
// and two convolutions with relu on the way up; time is added once, after the stem.

namespace anaphase::models {
namespace {

using engine::Activation;
using engine::ParameterSet;

constexpr std::array multipliers = {1, 1, 2, 4, 8};
constexpr std::array dropout_rates = {0.05, 0.1, 0.2, 0.3, 0.4};
constexpr int stage_count = multipliers.size() - 1;

struct DoubleConv {
  Conv conv1, conv2;
  Norm norm1, norm2;
  Activation activation;
  float dropout;

  DoubleConv(ParameterSet& set, const std::string& name, int in, int out, bool batch,
             Activation activation_, double dropout_)
      : conv1(set, name + ".conv1", in, out, 3),
        conv2(set, name + ".conv2", out, out, 3),
        norm1(set, name + ".norm1", out, batch),
        norm2(set, name + ".norm2", out, batch),
        activation(activation_),
        dropout(static_cast<float>(dropout_)) {}

  Tensor operator()(Tape& tape, const Tensor& x, Randomness& random, bool training) const {
    Tensor h = norm1(tape, conv1, x, activation, training);
    if (dropout > 0 && training) h = engine::dropout(tape, h, dropout, random.keys, random.draw());
    return norm2(tape, conv2, h, activation, training);
  }
};

class Plain final : public Network {
 public:
  explicit Plain(const NetworkOptions& options) : Network(options) {
    ParameterSet& set = parameters_;
    const int width = options.width;
    const bool batch = options.norm == "batch";
    if (options.time)
      time_ = TimeEmbedding(set, "time_mlp", width, 4 * width, width, Activation::gelu);
    for (int stage = 0; stage <= stage_count; ++stage) {
      const int in = stage == 0 ? options.in_channels : width * multipliers[stage - 1];
      down_.emplace_back(set, stage == 0 ? "stem" : fmt::format("down.{}", stage - 1), in,
                         width * multipliers[stage], batch, Activation::leaky_relu,
                         options.dropout * dropout_rates[stage]);
    }
    for (int stage = stage_count; stage > 0; --stage) {
      const int in = width * multipliers[stage], out = width * multipliers[stage - 1];
      const std::string name = fmt::format("up.{}", stage_count - stage);
      reduce_.emplace_back(set, name + ".reduce", in, out, 1);
      up_.emplace_back(set, name, 2 * out, out, batch, Activation::relu, 0.0);
    }
    head_ = Conv(set, "head", width, options.out_channels, 3);
  }

  Tensor forward(Tape& tape, const Tensor& x, const Tensor& t, Randomness& random,
                 bool training) const override {
    constexpr int reduction = 1 << stage_count;
    if (x.dim(1) % reduction != 0 || x.dim(2) % reduction != 0)
      throw Error(fmt::format("the plain network takes sides that are multiples of {}, not {} x {}",
                              reduction, x.dim(1), x.dim(2)));
    std::vector<Tensor> skips;
    Tensor h = down_[0](tape, x, random, training);  // [N, H, W, width]
    if (time_.channels > 0) h = engine::add_per_sample(tape, h, time_(tape, t, x.type()));
    for (int stage = 1; stage <= stage_count; ++stage) {
      skips.push_back(h);
      h = down_[stage](tape, engine::max_pool(tape, h), random, training);
    }
    for (int step = 0; step < stage_count; ++step) {  // h: [N, H/16, W/16, 8 width] at first
      h = engine::resample(tape, reduce_[step](tape, h), {2 * h.dim(1), 2 * h.dim(2)},
                           engine::ResampleMode::linear_aligned, skips.back());
      h = up_[step](tape, h, random, training);
      skips.pop_back();
    }
    return head_(tape, h);  // [N, H, W, out]
  }

 private:
  TimeEmbedding time_;
  std::vector<DoubleConv> down_, up_;
  std::vector<Conv> reduce_;
  Conv head_;
};

}  // namespace

std::unique_ptr<Network> make_plain(const NetworkOptions& options) {
  return std::make_unique<Plain>(options);
}

}  // namespace anaphase::models
