// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "models/networks/network.hpp"

namespace anaphase::models {

/// The DDPM U-Net; sides have to be multiples of 8.
std::unique_ptr<Network> make_unet(const NetworkOptions& options);

}  // namespace anaphase::models
