// SPDX-License-Identifier: Apache-2.0
#include "models/training/data.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "io/augment.hpp"
#include "io/regime.hpp"
#include "kernels/common/error.hpp"
#include "kernels/common/philox.hpp"

namespace anaphase::models {
namespace {

std::vector<io::LoadedSample> load_all(const std::vector<io::Sample>& samples,
                                       const io::LoadOptions& options) {
  std::vector<io::LoadedSample> loaded;
  loaded.reserve(samples.size());
  for (const io::Sample& sample : samples) loaded.push_back(io::load_sample(sample, options));
  return loaded;
}

bool contains(const std::vector<std::string>& sorted, const std::string& name) {
  return std::binary_search(sorted.begin(), sorted.end(), name);
}

}  // namespace

Samples all_of(const std::vector<io::LoadedSample>& samples) {
  Samples pointers;
  for (const io::LoadedSample& sample : samples) pointers.push_back(&sample);
  return pointers;
}

TrainingData load_training_data(const Config& config) {
  const std::vector<io::Sample> train =
      io::list_split(config.data.path, "train", io::MaskRule::optional);
  std::vector<std::string> with_mask;
  std::vector<io::Sample> masked;
  for (const io::Sample& sample : train)
    if (sample.mask) {
      with_mask.push_back(sample.name);
      masked.push_back(sample);
    }
  if (masked.empty())
    throw Error(fmt::format("{}/train/mask holds no mask: label at least one training image",
                            config.data.path));

  // The share counts all training images; the labelled ones are drawn among those that have a mask.
  io::LabelShare share = io::parse_label_share(config.data.labels);
  share.count = std::min(io::labelled_count(share, train.size()), masked.size());
  std::vector<std::string> labelled = io::draw_labelled(with_mask, share, config.training.seed);
  io::HoldOut split{labelled, {}};
  if (config.data.held_out > 0)
    split = io::hold_out(labelled, config.data.held_out, config.training.seed);

  TrainingData data;
  data.facts.channels = io::detect_channels(train);
  data.facts.classes = config.data.classes > 0 ? config.data.classes : io::detect_classes(masked);
  const io::LoadOptions options{config.data.size, data.facts.channels, data.facts.classes};

  data.train = load_all(train, options);
  const io::Normalisation normalisation = io::measure_normalisation(data.train);
  data.facts.mean = normalisation.mean;
  data.facts.std = normalisation.std;
  for (io::LoadedSample& sample : data.train) {
    io::normalise(sample.image, normalisation);
    Samples& part = contains(split.train, sample.name)  ? data.labelled
                    : contains(split.held, sample.name) ? data.held_out
                                                        : data.unlabelled;
    part.push_back(&sample);
  }
  if (data.unlabelled.empty()) data.unlabelled = data.labelled;

  if (io::has_split(config.data.path, "val")) {
    data.val = load_all(io::list_split(config.data.path, "val", io::MaskRule::required), options);
    for (io::LoadedSample& sample : data.val) io::normalise(sample.image, normalisation);
  }
  return data;
}

BatchSampler::BatchSampler(Samples samples, int batch, std::uint64_t seed)
    : samples_(std::move(samples)), batch_(batch), seed_(seed), order_(samples_.size()) {}

std::int64_t BatchSampler::steps_per_epoch() const {
  return (static_cast<std::int64_t>(samples_.size()) + batch_ - 1) / batch_;
}

const io::LoadedSample& BatchSampler::at(std::int64_t position) {
  const auto count = static_cast<std::int64_t>(samples_.size());
  const std::int64_t pass = position / count;
  if (pass != shuffled_pass_) {
    std::iota(order_.begin(), order_.end(), 0);
    kernels::PhiloxStream random(kernels::mix_key(seed_, pass));
    for (std::size_t i = order_.size(); i > 1; --i)
      std::swap(order_[i - 1], order_[random.integer(0, static_cast<std::int32_t>(i))]);
    shuffled_pass_ = pass;
  }
  return *samples_[order_[position % count]];
}

void BatchSampler::fill(std::int64_t step, const Config& config, const BatchInput& input) {
  std::vector<float> pixels;
  std::vector<std::int32_t> labels;
  std::vector<std::uint64_t> keys;
  pixels.reserve(input.image.count());
  const io::AugmentOptions augmentation{.brightness = config.data.jitter,
                                        .contrast = config.data.jitter};
  for (int i = 0; i < batch_; ++i) {
    const std::int64_t position = step * batch_ + i;
    const io::LoadedSample& sample = at(position);
    const std::uint64_t key = kernels::mix_key(seed_ + 1, position);
    keys.push_back(key);
    const bool has_labels = input.labels && !sample.mask.labels.empty();
    if (config.data.augment) {
      const io::Augmentation drawn =
          io::draw_augmentation(kernels::mix_key(key, 1), true, augmentation);
      const io::Image image = io::augment(sample.image, drawn);
      pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
      if (has_labels) {
        const io::LabelMap mask = io::augment(sample.mask, drawn);
        labels.insert(labels.end(), mask.labels.begin(), mask.labels.end());
      }
    } else {
      pixels.insert(pixels.end(), sample.image.pixels.begin(), sample.image.pixels.end());
      if (has_labels)
        labels.insert(labels.end(), sample.mask.labels.begin(), sample.mask.labels.end());
    }
  }
  engine::upload(input.image, pixels);
  engine::upload(input.keys, keys);
  if (input.labels) engine::upload(input.labels, labels);
}

}  // namespace anaphase::models
