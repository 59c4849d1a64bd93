// SPDX-License-Identifier: Apache-2.0
#include "models/training/manifest.hpp"

#include <omp.h>

#include <nlohmann/json.hpp>

#include "io/atomic_file.hpp"
#include "kernels/common/version.hpp"

namespace anaphase::models {
namespace {

std::vector<std::string> names_of(const Samples& samples) {
  std::vector<std::string> names;
  for (const auto* sample : samples) names.push_back(sample->name);
  return names;
}

}  // namespace

void write_manifest(const std::filesystem::path& path, Model& model, const TrainingData& data) {
  const Config& config = model.config();
  const nlohmann::ordered_json manifest{
      {"version", version},
      {"method", config.training.method},
      {"architecture", config.network.architecture},
      {"width", config.network.width},
      {"parameters", model.parameter_count()},
      {"precision", config.training.precision},
      {"device", model.device().name()},
      {"threads", omp_get_max_threads()},
      {"seed", config.training.seed},
      {"data", std::filesystem::absolute(config.data.path).string()},
      {"classes", data.facts.classes},
      {"channels", data.facts.channels},
      {"training_images", data.train.size()},
      {"validation_images", data.val.size()},
      {"labelled", names_of(data.labelled)},
      {"held_out", names_of(data.held_out)},
  };
  io::write_file_atomically(path, manifest.dump(2) + "\n");
}

}  // namespace anaphase::models
