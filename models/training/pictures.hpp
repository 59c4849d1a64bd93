// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "models/training/evaluation.hpp"

namespace anaphase::models {

/// Writes `folder`/index.json and PNG tiles for the report: for some images spread over the range
/// of scores, the image, the truth, each student, the teacher, the pseudo-label of each round, and
/// where the rounds disagree. `samples` are in the order of `evaluation.images`.
void write_pictures(const std::filesystem::path& folder, Model& model,
                    const std::vector<io::LoadedSample>& samples, const Evaluation& evaluation);

}  // namespace anaphase::models
