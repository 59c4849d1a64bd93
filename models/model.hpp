// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/failure.hpp"
#include "io/safetensors.hpp"
#include "models/config.hpp"
#include "models/networks/network.hpp"

namespace anaphase::models {

/// A model file is of a format that this program does not read.
class WrongVersion : public io::Unreadable {
 public:
  using io::Unreadable::Unreadable;
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
/// supervised only) and students. Each gets its memory and its values, initial ones or those of a
/// file, when it is first asked for (by one thread at a time): who uses one holds that one.
class Model {
 public:
  /// Fresh networks; initial weights depend on config.training.seed alone.
  Model(const engine::Device& device, const Config& config, const DataFacts& facts);

  const engine::Device& device() const { return device_; }
  const Config& config() const { return config_; }
  const DataFacts& facts() const { return facts_; }
  /// Storage type of activations.
  DType activation_type() const;

  /// Prefixes of the networks' names in a file: "teacher.mask.", "teacher.image.",
  /// "teacher.mask_average.", "student1.", …
  std::vector<std::string> prefixes() const;
  /// The network of one of these prefixes.
  Network& network(const std::string& prefix);

  bool has_teacher() const { return networks_.contains("teacher.mask."); }
  Network& mask() { return network("teacher.mask."); }
  Network& image() { return network("teacher.image."); }
  /// Whether an average of the mask pathway is kept.
  bool has_average() const { return networks_.contains("teacher.mask_average."); }
  Network& average() { return network("teacher.mask_average."); }
  /// What makes pseudo-labels: the average, or the mask pathway where none is kept.
  Network& pseudo_mask() { return has_average() ? average() : mask(); }
  int student_count() const { return student_count_; }
  /// k < student_count(); student 0 has the prefix "student1.".
  Network& student(int k) { return network(student_prefix(k)); }
  static std::string student_prefix(int k);

  /// alpha_bar [T] in device memory.
  const Tensor& alpha_bar() const { return alpha_bar_; }
  const std::vector<double>& levels() const { return levels_; }
  /// A constant batch of empty masks [n, size, size, K].
  Tensor empty_mask(int n, int height, int width) const;

  /// Of one network, and of all; reads no values.
  std::int64_t parameter_count(const std::string& prefix) const;
  std::int64_t parameter_count() const;

  /// One self-describing file: weights, configuration, data facts.
  io::SafeTensors to_file();
  void restore_from(io::SafeTensorsFile& file);
  void save(const std::filesystem::path& path);
  /// `path` is a model file or a run folder (then its model.safetensors), which stays open;
  /// `change` edits the configuration. Weights are in float32 whatever the precision. Throws
  /// io::Unreadable (WrongVersion) for files that are no model (of this version).
  static Model load(const engine::Device& device, const std::filesystem::path& path,
                    const std::function<void(Config&)>& change = {});

 private:
  /// Fresh networks, or those of a file; what it lacks is said before they take memory.
  Model(const engine::Device& device, const Config& config, const DataFacts& facts,
        std::unique_ptr<io::SafeTensorsFile> file);

  engine::Device device_;
  Config config_;
  DataFacts facts_;
  struct Part {
    std::unique_ptr<Network> network;
    bool has_values = false;
  };
  std::map<std::string, Part> networks_;  // by prefix
  int student_count_ = 0;
  std::vector<double> levels_;
  Tensor alpha_bar_;
  std::unique_ptr<io::SafeTensorsFile> file_;  // of a model that was loaded
};

}  // namespace anaphase::models
