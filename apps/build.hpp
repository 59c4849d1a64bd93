// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace anaphase::apps {

/// What this program was built from and for: names (version, compiler, …) and texts.
std::vector<std::pair<std::string, std::string>> build_facts();

}  // namespace anaphase::apps
