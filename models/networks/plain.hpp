// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "models/networks/network.hpp"

namespace anaphase::models {

/// The segmentation U-Net of the method's authors; sides have to be multiples of 16.
std::unique_ptr<Network> make_plain(const NetworkOptions& options);

}  // namespace anaphase::models
