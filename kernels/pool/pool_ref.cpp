// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>

#include "kernels/pool/pool.hpp"

namespace anaphase::kernels {

void run(Reference, const MaxPoolForward& op) {
  const auto* x = static_cast<const double*>(op.x);
  auto* y = static_cast<double*>(op.y);
  auto* index = static_cast<std::int32_t*>(op.index);
  std::int64_t out = 0;
  for (int n = 0; n < op.n; ++n)
    for (int oh = 0; oh < op.h / 2; ++oh)
      for (int ow = 0; ow < op.w / 2; ++ow)
        for (int c = 0; c < op.c; ++c, ++out) {
          double best = 0;
          int position = -1;
          for (int k = 0; k < 4; ++k) {
            const std::int64_t h = 2 * oh + k / 2, w = 2 * ow + k % 2;
            const double value = x[((n * op.h + h) * op.w + w) * op.c + c];
            const bool wins = value > best || (std::isnan(value) && !std::isnan(best));
            if (position >= 0 && !wins) continue;
            best = value;
            position = k;
          }
          y[out] = best;
          index[out] = position;
        }
}

void run(Reference, const MaxPoolBackward& op) {
  const auto* dy = static_cast<const double*>(op.dy);
  const auto* index = static_cast<const std::int32_t*>(op.index);
  auto* dx = static_cast<double*>(op.dx);
  for (std::int64_t i = 0; i < std::int64_t{op.n} * op.h * op.w * op.c; ++i) dx[i] = 0;
  std::int64_t out = 0;
  for (int n = 0; n < op.n; ++n)
    for (int oh = 0; oh < op.h / 2; ++oh)
      for (int ow = 0; ow < op.w / 2; ++ow)
        for (int c = 0; c < op.c; ++c, ++out) {
          const std::int64_t h = 2 * oh + index[out] / 2, w = 2 * ow + index[out] % 2;
          dx[((n * op.h + h) * op.w + w) * op.c + c] = dy[out];
        }
}

}  // namespace anaphase::kernels
