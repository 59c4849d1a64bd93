// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/reduce.hpp"

namespace anaphase::kernels {

void run(Reference, const Sum& op) {
  const auto* x = static_cast<const double*>(op.x);
  double sum = 0;
  for (std::int64_t i = 0; i < op.count; ++i) sum += x[i];
  *static_cast<double*>(op.y) = op.scale * sum;
}

}  // namespace anaphase::kernels
