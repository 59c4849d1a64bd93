// SPDX-License-Identifier: Apache-2.0
#include "models/networks/network.hpp"

#include "models/networks/plain.hpp"
#include "models/networks/unet.hpp"

namespace anaphase::models {

std::unique_ptr<Network> make_network(const NetworkOptions& options) {
  return options.architecture == "plain" ? make_plain(options) : make_unet(options);
}

}  // namespace anaphase::models
