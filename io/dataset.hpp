// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/image.hpp"

namespace anaphase::io {

// A data set is a folder ROOT/{train,val,test}/{image,mask}/NAME.ext. An image and its mask share
// NAME (the file name without its extension); the extensions may differ.

struct Sample {
  std::string name;
  std::filesystem::path image;
  std::optional<std::filesystem::path> mask;
};

enum class MaskRule {
  required,  ///< every image has a mask
  optional,  ///< an image without a mask is an unlabelled one; the mask folder itself may be absent
};

/// Whether ROOT/SPLIT/image exists.
bool has_split(const std::filesystem::path& root, std::string_view split);

/// The samples of ROOT/SPLIT, sorted by name (byte order). Hidden files and files without an image
/// extension are passed over. An Error when a folder is missing or holds no image, two files share
/// a name, an image lacks a mask (under `required`) or a mask lacks its image.
std::vector<Sample> list_split(const std::filesystem::path& root, std::string_view split,
                               MaskRule rule);

/// Samples without masks from image files and folders of images, in the order given, folders sorted
/// by name. An Error when a path is missing, a folder holds no image, or two files share a name
/// (their results would overwrite each other).
std::vector<Sample> list_images(std::span<const std::filesystem::path> paths);

struct LoadedSample {
  std::string name;
  Image image;
  LabelMap mask;  ///< without labels when the sample has no mask
  int original_width = 0;
  int original_height = 0;
};

struct LoadOptions {
  int size = 0;      ///< images and masks are resized to size x size; 0 keeps them as they are
  int channels = 3;  ///< 1 or 3; see convert_channels
  int classes = 2;
};

/// Reads one sample. A mask whose size differs from its image's is an Error that names both; so is
/// an image that is one pixel wide or high.
LoadedSample load_sample(const Sample& sample, const LoadOptions& options);

/// The number of classes of a data set's masks: 2 when all of them hold only 0 and 1, or 0 and 255;
/// else the largest value plus one. An Error when 255 stands beside other class ids or no sample
/// has a mask.
int detect_classes(std::span<const Sample> samples);

/// 1 when every image is grey (one channel, or three equal ones), else 3.
int detect_channels(std::span<const Sample> samples);

/// Per-channel mean and standard deviation over all pixels of all images.
struct Normalisation {
  std::vector<float> mean;
  std::vector<float> std;  ///< population standard deviation; 1 where the channel is constant
};
Normalisation measure_normalisation(std::span<const LoadedSample> samples);

/// pixel = (pixel - mean[c]) / std[c]
void normalise(Image& image, const Normalisation& normalisation);

}  // namespace anaphase::io
