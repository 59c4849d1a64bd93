// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "engine/ops/ops.hpp"
#include "engine/program.hpp"
#include "models/model.hpp"

namespace anaphase::models {

/// Masks for batches of images of one size, as replayed programs. Noise depends on the options'
/// seed alone: an image's mask is the same in any batch, at any place, on any day. A processor
/// takes the images of a batch in parts that its caches hold, one after the other through all
/// steps.
class Predictor {
 public:
  /// Several students are averaged. Throws Error where the model cannot do what the options ask.
  Predictor(Model& model, const InferenceOptions& options, int batch, int height, int width)
      : Predictor(model, options, batch, height, width, model.device()) {}
  /// On another queue of the model's device. The model's own queue has to have come to its end
  /// before the first run, and the model's parameters stay as they are during runs.
  Predictor(Model& model, const InferenceOptions& options, int batch, int height, int width,
            const engine::Device& device);

  int batch() const { return batch_; }
  /// Images of a replayed step; divides the batch.
  int images_at_once() const { return at_once_; }
  /// Class probabilities [count, height, width, K] of `count` <= batch images, given as normalised
  /// pixels [count, height, width, channels].
  std::vector<float> probabilities(const std::vector<float>& images);
  /// The same for each network by itself: one entry a student, or the teacher's.
  std::vector<std::vector<float>> by_network(const std::vector<float>& images);

  // The same without a copy or an allocation: fill `images`, `run`, read `mean`.

  /// Normalised pixels [batch, height, width, channels] in the model's activation type.
  const Tensor& images() const { return images_; }
  /// Class probabilities [batch, height, width, K] in float, from the last `run`.
  const Tensor& mean() const { return mean_; }
  /// In the order of the device's calls; on a GPU they have only been enqueued when this returns.
  void run();
  /// Calls of networks in a `run`, for each image.
  int network_calls() const;

  // To measure a step by itself: `start`, then at most as many replays as a run has steps.

  /// Goes back to before the first step of the first network's first draw for the first images.
  void start() {
    copy_in(0);
    start(generators_.front(), 0);
  }
  /// What a run replays for every step of the first network.
  engine::Program& step() { return generators_.front().step; }
  /// To be called when the model's parameters have changed: the programs hold copies of them in the
  /// layouts that the device computes with.
  void parameters_changed();

 private:
  struct Generator {              // of one network
    engine::Program start, step;  // one draw: noise, then a step as often as there are any
    engine::Program add;          // the draw to the sum
    Tensor sum;                   // of the weighted draws, for the images at hand
    Tensor mean;                  // of the whole batch; the same tensor where that is at hand
  };
  Generator make_generator(const Network& network);
  void make_process();
  void start(Generator& generator, int draw);
  void run(Generator& generator);
  /// The images at hand, and what has become of them, from `first` on in the batch.
  void copy_in(int first);
  void copy_out(const Generator& generator, int first);

  Model& model_;
  engine::Device device_;
  InferenceOptions options_;
  int batch_, height_, width_, at_once_;
  Tensor images_;                   // of the batch
  Tensor at_hand_;                  // [at_once, ...] of them; the same tensor where that is all
  Tensor keys_;                     // [at_once]
  Tensor keys_of_draws_;            // [draws, at_once]
  engine::ReverseProcess process_;  // of several steps
  Tensor state_, x0_before_;        // likewise; x0_before_ where the sampler looks back
  std::vector<Generator> generators_;
  engine::Program average_;  // of several networks
  Tensor mean_;
};

/// The pseudo-labels of stage 3 for batches of images: the teacher's mask and that of each round,
/// with noise as in training (drawn timesteps), for diagnosis and pictures.
class PseudoLabeller {
 public:
  PseudoLabeller(Model& model, int batch, int height, int width);

  int rounds() const { return static_cast<int>(probabilities_.size()) - 1; }
  /// [round][count, height, width, K]; round 0 is the teacher's own mask.
  std::vector<std::vector<float>> probabilities(const std::vector<float>& images);

 private:
  engine::Program program_;
  Tensor image_, keys_;
  std::vector<Tensor> probabilities_;
};

/// [count, K] values at each pixel -> the class of the largest.
std::vector<std::int32_t> largest_class(const std::vector<float>& probabilities, int classes);

}  // namespace anaphase::models
