// SPDX-License-Identifier: Apache-2.0
#include "models/pathways.hpp"

namespace anaphase::models {

using namespace engine;

Tensor mask_signal(Tape& tape, const Tensor& logits) {
  return softmax(tape, logits, 2, -1);
}

Tensor generate_mask(Tape& tape, const Model& model, const Network& network, const Tensor& image,
                     Randomness& random, bool training, std::optional<int> fixed_t) {
  const int n = static_cast<int>(image.dim(0));
  if (!network.options().time) return network.forward(tape, image, {}, random, training);

  Tensor t;
  if (fixed_t) {
    t = make_tensor(model.device(), {n}, DType::i32);
    upload(t, std::vector<std::int32_t>(n, *fixed_t));
  } else {
    t = random_timesteps(tape, random.keys, random.draw(), 0, model.config().diffusion.steps);
  }
  const Tensor empty =
      model.empty_mask(n, static_cast<int>(image.dim(1)), static_cast<int>(image.dim(2)));
  const Noised noised =
      forward_noise(tape, empty, t, model.alpha_bar(), random.keys, random.draw());
  return network.forward(tape, concat(tape, noised.x_t, image), t, random, training);
}

Reconstruction reconstruct(Tape& tape, Model& model, const Tensor& image, const Tensor& mask,
                           Randomness& random, int t_min, bool training) {
  const Tensor t =
      random_timesteps(tape, random.keys, random.draw(), t_min, model.config().diffusion.steps);
  const Noised noised =
      forward_noise(tape, image, t, model.alpha_bar(), random.keys, random.draw());
  const Tensor predicted =
      model.image().forward(tape, concat(tape, noised.x_t, mask), t, random, training);
  return {mean_squared_error(tape, predicted, noised.noise),
          predict_clean(tape, noised.x_t, predicted, t, model.alpha_bar(), model.facts().low(),
                        model.facts().high())};
}

}  // namespace anaphase::models
