// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "io/image.hpp"

namespace anaphase::io {

// Both use the pixel-centre convention: the centre of output pixel i lies at (i + 0.5) * in / out
// in the input's coordinates, where input pixel j covers [j, j + 1). Edges repeat nothing: weights
// that fall outside are left out and the rest renormalised.

/// Bilinear when enlarging; when reducing, the triangle filter is widened by the factor of
/// reduction, so every input pixel counts and nothing aliases. Separable, weights in double
/// precision.
Image resize_bilinear(const Image& image, int width, int height);

/// The label of the input pixel that holds the output pixel's centre.
LabelMap resize_nearest(const LabelMap& labels, int width, int height);

}  // namespace anaphase::io
