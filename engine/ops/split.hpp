// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/tape.hpp"

namespace anaphase::engine {

/// The channels that concat joined.
struct Halves {
  Tensor a, b;
};

/// dy's first `channels_a` channels and the others, for the backward passes of what joins channels.
/// One that is not wanted stays empty. No gradient. (concat.cpp)
Halves split(Tape& tape, const Tensor& dy, int channels_a, bool wants_a, bool wants_b);

}  // namespace anaphase::engine
