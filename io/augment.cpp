// SPDX-License-Identifier: Apache-2.0
#include "io/augment.hpp"

#include <utility>
#include <vector>

#include "kernels/common/philox.hpp"

namespace anaphase::io {
namespace {

template <class T>
std::vector<T> move_pixels(const std::vector<T>& source, int width, int height, int channels,
                           const Augmentation& augmentation) {
  const int out_width = augmentation.transpose ? height : width;
  const int out_height = augmentation.transpose ? width : height;
  std::vector<T> result;
  result.reserve(source.size());
  for (int y = 0; y < out_height; ++y) {
    for (int x = 0; x < out_width; ++x) {
      int from_x = augmentation.flip_x ? out_width - 1 - x : x;
      int from_y = augmentation.flip_y ? out_height - 1 - y : y;
      if (augmentation.transpose) std::swap(from_x, from_y);
      const T* pixel = &source[(static_cast<std::size_t>(from_y) * width + from_x) * channels];
      result.insert(result.end(), pixel, pixel + channels);
    }
  }
  return result;
}

}  // namespace

Augmentation draw_augmentation(std::uint64_t key, bool square, const AugmentOptions& options) {
  // Every draw is taken whatever the options, so that changing one does not shift the others.
  kernels::PhiloxStream draws(key);
  const bool flip = draws.uniform() < options.flip;
  const int direction = draws.integer(0, 3);
  const bool transpose = draws.uniform() < options.transpose;
  const int quarter_turns = draws.integer(0, 4);
  const float brightness = 2 * draws.uniform() - 1;
  const float contrast = 2 * draws.uniform() - 1;

  Augmentation drawn;
  drawn.flip_x = flip && direction != 1;
  drawn.flip_y = flip && direction != 0;
  const auto then_transpose = [&drawn] {
    drawn.transpose = !drawn.transpose;
    std::swap(drawn.flip_x, drawn.flip_y);
  };
  if (square && transpose) then_transpose();
  for (int turn = 0; square && options.rotate && turn < quarter_turns; ++turn) {
    then_transpose();
    drawn.flip_x = !drawn.flip_x;
  }
  drawn.brightness = static_cast<float>(options.brightness) * brightness;
  drawn.contrast = 1 + static_cast<float>(options.contrast) * contrast;
  return drawn;
}

Image augment(const Image& image, const Augmentation& augmentation) {
  Image result = image;
  result.pixels =
      move_pixels(image.pixels, image.width, image.height, image.channels, augmentation);
  if (augmentation.transpose) std::swap(result.width, result.height);
  if (augmentation.brightness == 0 && augmentation.contrast == 1) return result;
  for (int c = 0; c < result.channels; ++c) {
    double sum = 0;
    for (std::size_t i = c; i < result.pixels.size(); i += result.channels) sum += result.pixels[i];
    const auto mean =
        static_cast<float>(sum * result.channels / static_cast<double>(result.pixels.size()));
    for (std::size_t i = c; i < result.pixels.size(); i += result.channels) {
      result.pixels[i] =
          mean + augmentation.contrast * (result.pixels[i] - mean) + augmentation.brightness;
    }
  }
  return result;
}

LabelMap augment(const LabelMap& mask, const Augmentation& augmentation) {
  LabelMap result{mask.width, mask.height,
                  move_pixels(mask.labels, mask.width, mask.height, 1, augmentation)};
  if (augmentation.transpose) std::swap(result.width, result.height);
  return result;
}

}  // namespace anaphase::io
