// SPDX-License-Identifier: Apache-2.0
#include "kernels/concat/concat.hpp"

namespace anaphase::kernels {

void run(Reference, const Concat& op) {
  const auto* a = static_cast<const double*>(op.a);
  const auto* b = static_cast<const double*>(op.b);
  auto* y = static_cast<double*>(op.y);
  for (std::int64_t r = 0; r < op.rows; ++r) {
    for (int c = 0; c < op.channels_a; ++c) *y++ = a[r * op.channels_a + c];
    for (int c = 0; c < op.channels_b; ++c) *y++ = b[r * op.channels_b + c];
  }
}

void run(Reference, const Split& op) {
  const auto* y = static_cast<const double*>(op.y);
  auto* a = static_cast<double*>(op.a);
  auto* b = static_cast<double*>(op.b);
  const int channels = op.channels_a + op.channels_b;
  for (std::int64_t r = 0; r < op.rows; ++r) {
    for (int c = 0; a && c < op.channels_a; ++c) a[r * op.channels_a + c] = y[r * channels + c];
    for (int c = 0; b && c < op.channels_b; ++c)
      b[r * op.channels_b + c] = y[r * channels + op.channels_a + c];
  }
}

}  // namespace anaphase::kernels
