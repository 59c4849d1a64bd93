// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "models/model.hpp"

namespace anaphase::test {

/// A configuration small enough for tests: 16 px, width 8.
inline models::Config small_config(const std::string& architecture = "unet") {
  models::Config config;
  config.network.architecture = architecture;
  config.network.width = 8;
  config.network.norm = "group";
  config.data.size = 16;
  config.training.batch = 2;
  config.rounds.count = 2;
  return config;
}

inline models::DataFacts small_facts(int channels = 3, int classes = 2) {
  return {channels, classes, std::vector<float>(channels, 0.5F),
          std::vector<float>(channels, 0.25F)};
}

}  // namespace anaphase::test
