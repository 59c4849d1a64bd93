// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace anaphase::apps {

/// The table that people read, made from what models::to_json wrote.
std::string score_table(const nlohmann::json& scores);

}  // namespace anaphase::apps
