// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace anaphase {

/// The one place that names the version; CMakeLists.txt reads it from here.
inline constexpr const char* version = "0.1.0";

}  // namespace anaphase
