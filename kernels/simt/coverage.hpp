// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace anaphase::simt {

/// Notes that a kernel ran. When the program ends, the names of all its kernels are written to the
/// file that the environment variable ANAPHASE_SIMT_COVERAGE names, one a line, after + if the
/// kernel ran and - if not.
void note_kernel(std::string_view name);

}  // namespace anaphase::simt
