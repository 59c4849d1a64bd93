// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a .cu file includes when a host compiler builds it: CUDA's language and runtime on the
// executor of kernels/simt.

#define ANAPHASE_SIMT 1

#include "kernels/simt/atomics.hpp"
#include "kernels/simt/builtins.hpp"
#include "kernels/simt/math.hpp"
#include "kernels/simt/runtime.hpp"
#include "kernels/simt/warp.hpp"

using namespace anaphase::simt::runtime;  // NOLINT(google-build-using-namespace)
