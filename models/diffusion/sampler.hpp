// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "kernels/diffusion/diffusion.hpp"

namespace anaphase::models {

/// `count` timesteps spread evenly from steps - 1 down to 0 (only steps - 1 when count is 1); no
/// timestep comes twice. 1 <= count <= steps.
std::vector<int> spaced_timesteps(int steps, int count);

/// What a network's prediction is.
enum class Prediction : unsigned char { clean, noise };

using StepCoefficients = std::array<float, kernels::ReverseStepCoefficients::count>;

/// How a reverse process goes from noise to a clean signal.
///   ddpm   the ancestral sampler, noise in every step but the last (Ho et al., arXiv 2006.11239,
///          eq. 7)
///   ddim   its deterministic form, of first order (Song et al., arXiv 2010.02502, eq. 12 and 16)
///   dpm    DPM-Solver++(2M), deterministic, of second order: it uses the clean estimate of the
///   step
///          before (Lu et al., arXiv 2211.01095, algorithm 2); its first and its last step are
///          ddim's
enum class Sampler : unsigned char { ddpm, ddim, dpm };
/// By the name of `inference.sampler`; throws Error for another.
Sampler sampler_named(std::string_view name);

/// Coefficients (kernels::ReverseStep) of every step of a reverse process through `timesteps`, from
/// the signal level of the first to the clean signal. levels: of all timesteps (alpha_bar).
std::vector<StepCoefficients> reverse_coefficients(Sampler sampler,
                                                   const std::vector<double>& levels,
                                                   const std::vector<int>& timesteps,
                                                   Prediction prediction);

/// One step of ddpm or ddim from signal level `level` to `previous` (1: the clean signal).
StepCoefficients step_coefficients(Sampler sampler, double level, double previous,
                                   Prediction prediction);

}  // namespace anaphase::models
