// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include "kernels/diffusion/diffusion.hpp"

namespace anaphase::models {

/// `count` timesteps spread evenly from steps - 1 down to 0 (only steps - 1 when count is 1); no
/// timestep comes twice. 1 <= count <= steps.
std::vector<int> spaced_timesteps(int steps, int count);

/// What a network's prediction is.
enum class Prediction : unsigned char { clean, noise };

using StepCoefficients = std::array<float, kernels::ReverseStepCoefficients::count>;

/// Coefficients of the reverse step from signal level `level` to `previous` (1: the clean signal),
/// see kernels::ReverseStep. eta 0 is DDIM, which draws no noise (Song et al., arXiv 2010.02502,
/// eq. 12 and 16); eta 1 is the ancestral sampler DDPM (Ho et al., arXiv 2006.11239, eq. 7).
StepCoefficients step_coefficients(double level, double previous, Prediction prediction,
                                   double eta);

}  // namespace anaphase::models
