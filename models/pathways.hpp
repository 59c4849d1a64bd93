// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "models/model.hpp"

namespace anaphase::models {

/// The mask signal of a diffusion network: softmax scaled to [-1, 1].
Tensor mask_signal(Tape& tape, const Tensor& logits);

/// One-step generation (docs/method.md, Generation): the empty mask is noised to t, joined with the
/// image and given to `network`, a mask pathway or a student; its result are logits [N, H, W, K]. t
/// is drawn for each sample from [0, T), or is `fixed_t` for all. A student without noise input
/// sees the image alone.
Tensor generate_mask(Tape& tape, const Model& model, const Network& network, const Tensor& image,
                     Randomness& random, bool training, std::optional<int> fixed_t = {});

/// The image pathway: noise the image to t', predict that noise with the help of a mask signal.
struct Reconstruction {
  Tensor loss;     // mean squared error of the noise
  Tensor rebuilt;  // the clean image it implies, clamped to the image range; no gradient
};
Reconstruction reconstruct(Tape& tape, Model& model, const Tensor& image, const Tensor& mask,
                           Randomness& random, int t_min, bool training);

}  // namespace anaphase::models
