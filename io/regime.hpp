// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace anaphase::io {

/// How many of the training images are labelled: a fraction of them, or a number.
struct LabelShare {
  double fraction = 1.0;  ///< in [0, 1]; used when count is 0
  std::size_t count = 0;
};

/// "10%" and "0.1" are fractions, "9" and "9 images" a number of images ("1" is one image, "1.0"
/// and "100%" are all). An Error for anything else, and for a share of nothing.
LabelShare parse_label_share(std::string_view text);

/// How many of `images` images the share labels: ceil(images * fraction), or the count. An Error
/// when that is none, or more than there are.
std::size_t labelled_count(const LabelShare& share, std::size_t images);

/// Draws the labelled images: sorts the names, shuffles them with the seed and returns the first
/// `labelled_count` of them, sorted. The result depends on the set of names and the seed alone, and
/// a smaller share of the same seed is contained in a larger one.
std::vector<std::string> draw_labelled(std::vector<std::string> names, const LabelShare& share,
                                       std::uint64_t seed);

struct HoldOut {
  std::vector<std::string> train;  ///< sorted
  std::vector<std::string> held;   ///< sorted; chooses the checkpoint, never trained on
};

/// Holds back round(fraction * n) of the labelled images, but at least one and at most n - 1. With
/// a single labelled image nothing is held back.
HoldOut hold_out(std::vector<std::string> labelled, double fraction, std::uint64_t seed);

}  // namespace anaphase::io
