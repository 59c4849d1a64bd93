// SPDX-License-Identifier: Apache-2.0
#include "kernels/pixels/pixels.hpp"

namespace anaphase::kernels {

void run(Reference, const NormalisePixels& op) {
  const auto* mean = static_cast<const double*>(op.mean);
  const auto* std = static_cast<const double*>(op.std);
  auto* y = static_cast<double*>(op.y);
  for (int n = 0; n < op.n; ++n)
    for (int h = 0; h < op.h; ++h)
      for (int w = 0; w < op.w; ++w)
        for (int c = 0; c < op.c; ++c) {
          const double x = op.x[n * op.image_stride + h * op.row_stride + w * op.c + c];
          *y++ = (x / 255 - mean[c]) / std[c];
        }
}

void run(Reference, const LargestClass& op) {
  const auto* p = static_cast<const double*>(op.p);
  for (int n = 0; n < op.n; ++n)
    for (int h = 0; h < op.h; ++h)
      for (int w = 0; w < op.w; ++w, p += op.classes) {
        int best = 0;
        for (int k = 1; k < op.classes; ++k)
          if (p[k] > p[best]) best = k;
        op.mask[n * op.image_stride + h * op.row_stride + w] = static_cast<std::uint8_t>(best);
      }
}

}  // namespace anaphase::kernels
