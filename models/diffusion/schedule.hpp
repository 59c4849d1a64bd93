// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace anaphase::models {

/// Cumulative signal levels alpha_bar[t], t = 0 .. steps - 1, falling from nearly 1 to nearly 0.
/// beta_t = 1 - alpha_bar[t] / alpha_bar[t - 1] is clipped at 0.999.
///   linear   beta from 1e-4 to 0.02, scaled by 1000 / steps (Ho et al., arXiv 2006.11239)
///   cosine   cos^2((t/T + 0.008) / 1.008 * pi/2), normalised (Nichol and Dhariwal, arXiv
///   2102.09672) sigmoid  sigmoid curve from -3 to 3 with temperature 1, normalised (Jabri et al.,
///   arXiv 2212.11972)
std::vector<double> alpha_bar(const std::string& schedule, int steps);

}  // namespace anaphase::models
