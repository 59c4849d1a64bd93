// SPDX-License-Identifier: Apache-2.0
#include "models/networks/unet.hpp"

#include <fmt/format.h>

#include "kernels/common/error.hpp"
#include "models/networks/layers.hpp"

// A DDPM U-Net (Ho et al., arXiv 2006.11239): four levels of width x 1, 2, 4, 8, two residual
// blocks a level, self- attention at the lowest resolution, strided convolutions down, nearest
// neighbour and convolution up, skips by concatenation; time enters every block as scale and shift
// after its second norm.

namespace anaphase::models {
namespace {

using engine::Activation;
using engine::ParameterSet;

constexpr int level_count = 4;
constexpr int blocks_per_level = 2;

struct ResidualBlock {
  GroupNorm norm1, norm2;
  Conv conv1, conv2, shortcut;
  Linear time;  // [N, embedding] -> [N, 2 C_out]

  ResidualBlock(ParameterSet& set, const std::string& name, int in, int out, int embedding)
      : norm1(set, name + ".norm1", in),
        norm2(set, name + ".norm2", out),
        conv1(set, name + ".conv1", in, out, 3),
        conv2(set, name + ".conv2", out, out, 3) {
    if (embedding > 0) time = Linear(set, name + ".time", embedding, 2 * out);
    if (in != out) shortcut = Conv(set, name + ".shortcut", in, out, 1);
  }

  Tensor operator()(Tape& tape, const Tensor& x, const Tensor& embedding) const {
    Tensor h = norm1(tape, x, Activation::silu);  // [N, H, W, in]
    h = conv1(tape, h);                           // [N, H, W, out]
    const Tensor scale_shift = embedding ? time(tape, embedding) : Tensor{};
    h = norm2(tape, h, Activation::silu, scale_shift);
    return conv2(tape, h, shortcut.weight ? shortcut(tape, x) : x);
  }
};

struct AttentionBlock {
  GroupNorm norm;
  Linear qkv, projection;
  int heads;

  AttentionBlock(ParameterSet& set, const std::string& name, int channels)
      : norm(set, name + ".norm", channels),
        qkv(set, name + ".qkv", channels, 3 * channels),
        projection(set, name + ".proj", channels, channels),
        heads(std::max(1, channels / 64)) {}

  Tensor operator()(Tape& tape, const Tensor& x) const {
    const Tensor tokens = qkv(tape, norm(tape, x));           // [N, H, W, 3 C]
    const Tensor h = engine::attention(tape, tokens, heads);  // [N, H, W, C]
    return projection(tape, h, x);
  }
};

class UNet final : public Network {
 public:
  explicit UNet(const NetworkOptions& options) : Network(options) {
    ParameterSet& set = parameters_;
    const int width = options.width;
    const int embedding = options.time ? 4 * width : 0;
    if (options.time)
      time_ = TimeEmbedding(set, "time_mlp", width, embedding, embedding, Activation::silu);
    stem_ = Conv(set, "stem", options.in_channels, width, 3);

    std::vector<int> skips;
    int channels = width;
    for (int level = 0; level < level_count; ++level) {
      const int out = width << level;
      for (int block = 0; block < blocks_per_level; ++block) {
        down_.emplace_back(set, fmt::format("down.{}.blocks.{}", level, block), channels, out,
                           embedding);
        channels = out;
        skips.push_back(channels);
      }
      if (level + 1 < level_count)
        downsample_.emplace_back(set, fmt::format("down.{}.downsample", level), channels, channels,
                                 3, 2);
    }
    middle_.emplace_back(set, "mid.block1", channels, channels, embedding);
    attention_.emplace_back(set, "mid.attention", channels);
    middle_.emplace_back(set, "mid.block2", channels, channels, embedding);
    for (int level = level_count - 1; level >= 0; --level) {
      const int out = width << level;
      for (int block = 0; block < blocks_per_level; ++block) {
        up_.emplace_back(set, fmt::format("up.{}.blocks.{}", level, block), channels + skips.back(),
                         out, embedding);
        channels = out;
        skips.pop_back();
      }
      if (level > 0)
        upsample_.emplace_back(set, fmt::format("up.{}.upsample", level), channels, channels / 2,
                               3);
      if (level > 0) channels /= 2;
    }
    head_norm_ = GroupNorm(set, "head.norm", width);
    head_ = Conv(set, "head.conv", width, options.out_channels, 3);
  }

  Tensor forward(Tape& tape, const Tensor& x, const Tensor& t, Randomness&, bool) const override {
    constexpr int reduction = 1 << (level_count - 1);
    if (x.dim(1) % reduction != 0 || x.dim(2) % reduction != 0)
      throw Error(fmt::format("the unet takes sides that are multiples of {}, not {} x {}",
                              reduction, x.dim(1), x.dim(2)));
    Tensor embedding;
    if (time_.channels > 0)
      embedding = engine::activate(tape, time_(tape, t, x.type()), Activation::silu);

    std::vector<Tensor> skips;
    Tensor h = stem_(tape, x);  // [N, H, W, width]
    for (int level = 0; level < level_count; ++level) {
      for (int block = 0; block < blocks_per_level; ++block) {
        h = down_[level * blocks_per_level + block](tape, h, embedding);
        skips.push_back(h);
      }
      if (level + 1 < level_count) h = downsample_[level](tape, h);
    }
    h = middle_[0](tape, h, embedding);  // [N, H/8, W/8, 8 width]
    h = attention_[0](tape, h);
    h = middle_[1](tape, h, embedding);
    for (int step = 0; step < level_count; ++step) {
      for (int block = 0; block < blocks_per_level; ++block) {
        h = engine::concat(tape, h, skips.back());
        skips.pop_back();
        h = up_[step * blocks_per_level + block](tape, h, embedding);
      }
      if (step + 1 < level_count) {
        h = engine::resample(tape, h, {2 * h.dim(1), 2 * h.dim(2)}, engine::ResampleMode::nearest);
        h = upsample_[step](tape, h);
      }
    }
    return head_(tape, head_norm_(tape, h, Activation::silu));  // [N, H, W, out]
  }

 private:
  TimeEmbedding time_;
  Conv stem_, head_;
  GroupNorm head_norm_;
  std::vector<ResidualBlock> down_, middle_, up_;
  std::vector<Conv> downsample_, upsample_;
  std::vector<AttentionBlock> attention_;
};

}  // namespace

std::unique_ptr<Network> make_unet(const NetworkOptions& options) {
  return std::make_unique<UNet>(options);
}

}  // namespace anaphase::models
