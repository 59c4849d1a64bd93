// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include "io/image.hpp"

namespace anaphase::io {

/// What the made-up images look like.
enum class SyntheticKind {
  glands,  ///< RGB, like stained tissue: rings of dark nuclei around pale lumina in pink stroma
  nuclei   ///< one channel, like fluorescence: bright, partly touching blobs on a dark ground
};

struct SyntheticImage {
  Image image;    ///< values in [0, 1]; 3 channels for glands, 1 for nuclei
  LabelMap mask;  ///< 0 background, 1 gland (lumen included) or nucleus
};

/// Image number `index` of the endless series that `seed` names. Depends on nothing else: all
/// randomness is Philox and all arithmetic is double, so machines agree on the 8-bit picture.
/// Shapes scale with `size`, the width and height in pixels, at least 16.
SyntheticImage synthesise(SyntheticKind kind, int size, std::uint64_t seed, std::uint64_t index);

struct SyntheticDataset {
  SyntheticKind kind = SyntheticKind::glands;
  int count = 100;  ///< images in all, at least 2
  int size = 128;
  std::uint64_t seed = 0;
};

struct SyntheticSplit {
  int train, val;
};

/// Writes `count` images as folder/{train,val}/{image,mask}/synth_0001.png, …; the last fifth (at
/// least one) is val. Throws Error if `folder` exists and is not an empty folder, or if count or
/// size are out of range; then nothing is written.
SyntheticSplit write_synthetic_dataset(const std::filesystem::path& folder,
                                       const SyntheticDataset& dataset);

}  // namespace anaphase::io
