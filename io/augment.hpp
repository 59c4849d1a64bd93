// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "io/image.hpp"

namespace anaphase::io {

struct AugmentOptions {
  double flip = 0.75;      ///< probability of a flip: horizontal, vertical or both, equally likely
  double transpose = 0.5;  ///< probability of exchanging rows and columns (square images)
  bool rotate = true;  ///< rotation by 0, 90, 180 or 270 degrees, equally likely (square images)
  double brightness = 0.0;  ///< largest shift of the intensities, in either direction
  double contrast = 0.0;    ///< largest relative change of their distance from the image's mean
};

/// One drawn augmentation: first rows and columns change places, then columns and rows are
/// reversed. The three flags reach each of the 8 symmetries of the square exactly once.
struct Augmentation {
  bool transpose = false;
  bool flip_x = false;  ///< left and right
  bool flip_y = false;  ///< top and bottom
  float brightness = 0.0F;
  float contrast = 1.0F;
};

/// The augmentation that belongs to `key`; the same key gives the same one. Without `square`,
/// transposition and rotation are left out.
Augmentation draw_augmentation(std::uint64_t key, bool square, const AugmentOptions& options = {});

/// Image and mask take the same geometry; brightness and contrast touch the image alone:
/// value = mean + contrast * (value - mean) + brightness, with each channel's mean, not clamped.
/// Transposition exchanges width and height.
Image augment(const Image& image, const Augmentation& augmentation);
LabelMap augment(const LabelMap& mask, const Augmentation& augmentation);

}  // namespace anaphase::io
