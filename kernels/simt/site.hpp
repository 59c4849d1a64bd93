// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "kernels/simt/executor.hpp"

namespace anaphase::simt {

std::string to_text(const dim3& v);
/// "file:line"; empty where it is not known.
std::string to_text(const Site& where);

}  // namespace anaphase::simt
