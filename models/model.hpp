// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "kernels/common/error.hpp"
#include "models/config.hpp"
#include "models/networks/network.hpp"

namespace anaphase::models {

/// A model file is of a format that this program does not read.
class WrongVersion : public Error {
 public:
  using Error::Error;
};

/// What the networks were fitted to.
struct DataFacts {
  int channels = 3;              // of an image: 1 or 3
  int classes = 2;               // K, background included
  std::vector<float> mean, std;  // per channel, of pixel values in [0, 1]

  /// The least and the largest normalised pixel value.
  float low() const;
  float high() const;
};

/// The networks of a run on one device: teacher (mask pathway f, image pathway g, unless the run is
/// supervised only) and students.
class Model {
 public:
  /// Fresh networks; initial weights depend on config.training.seed alone.
  Model(const engine::Device& device, const Config& config, const DataFacts& facts);

  const engine::Device& device() const { return device_; }
  const Config& config() const { return config_; }
  const DataFacts& facts() const { return facts_; }
  /// Storage type of activations.
  DType activation_type() const;

  bool has_teacher() const { return mask_ != nullptr; }
  Network& mask() { return *mask_; }
  Network& image() { return *image_; }
  /// The averaged mask pathway that makes pseudo-labels, or the mask pathway where none is kept.
  Network& pseudo_mask() { return averaged_ ? *averaged_ : *mask_; }
  Network* averaged() { return averaged_.get(); }
  std::vector<std::unique_ptr<Network>>& students() { return students_; }

  /// alpha_bar [T] in device memory.
  const Tensor& alpha_bar() const { return alpha_bar_; }
  const std::vector<double>& levels() const { return levels_; }
  /// A constant batch of empty masks [n, size, size, K].
  Tensor empty_mask(int n, int height, int width) const;

  std::int64_t parameter_count();

  /// Networks by the prefix of their names in a file: "teacher.mask.", "teacher.image.",
  /// "student1.", …
  std::map<std::string, Network*> networks();

  /// One self-describing file: weights, configuration, data facts.
  io::SafeTensors to_file();
  void restore_from(const io::SafeTensors& file, const std::string& origin);
  void save(const std::filesystem::path& path);
  /// `path` is a model file or a run folder (then its model.safetensors); `precision`, where it is
  /// not empty, takes the place of training.precision. Weights are in float32 whichever it is.
  static Model load(const engine::Device& device, const std::filesystem::path& path,
                    const std::string& precision = {});

 private:
  /// Fresh networks, or those of a file; what it lacks is said before they take memory.
  Model(const engine::Device& device, const Config& config, const DataFacts& facts,
        const io::SafeTensors* file, const std::string& origin);

  engine::Device device_;
  Config config_;
  DataFacts facts_;
  std::unique_ptr<Network> mask_, image_, averaged_;
  std::vector<std::unique_ptr<Network>> students_;
  std::vector<double> levels_;
  Tensor alpha_bar_;
};

}  // namespace anaphase::models
