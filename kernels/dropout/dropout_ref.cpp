// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/philox.hpp"
#include "kernels/dropout/dropout.hpp"

namespace anaphase::kernels {

void run(Reference, const Dropout& op) {
  const auto* x = static_cast<const double*>(op.x);
  auto* y = static_cast<double*>(op.y);
  const double rate = op.rate;
  for (int s = 0; s < op.n; ++s)
    for (std::int64_t i = 0; i < op.per_sample; ++i) {
      const PhiloxBlock block = philox(op.keys[s], static_cast<std::uint64_t>(i / 4), op.draw);
      const bool kept = uniform_from_bits(block.lane[i % 4]) >= op.rate;
      const std::int64_t at = s * op.per_sample + i;
      y[at] = kept ? x[at] / (1 - rate) : 0;
    }
}

}  // namespace anaphase::kernels
