// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "models/training/data.hpp"

namespace anaphase::models {

/// What a run was made from and with, as JSON: version, method, networks, parameters, seed, data,
/// the names of the labelled images, processor and threads.
void write_manifest(const std::filesystem::path& path, Model& model, const TrainingData& data);

}  // namespace anaphase::models
