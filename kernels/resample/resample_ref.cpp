// SPDX-License-Identifier: Apache-2.0
#include "kernels/resample/resample.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace anaphase::kernels {
namespace {

/// The two neighbours of an output position on one axis, and their weights.
struct Neighbours {
  int index[2];
  double weight[2];
};

Neighbours neighbours(ResampleMode mode, int p, int in, int out) {
  double s = 0;
  switch (mode) {
    case ResampleMode::nearest:
      s = std::floor(static_cast<double>(p) * in / out);
      break;
    case ResampleMode::linear:
      s = std::clamp((p + 0.5) * in / out - 0.5, 0.0, in - 1.0);
      break;
    case ResampleMode::linear_aligned:
      s = out == 1 ? 0 : static_cast<double>(p) * (in - 1) / (out - 1);
      break;
  }
  const int i = static_cast<int>(s);
  return {{i, std::min(i + 1, in - 1)}, {1 - (s - i), s - i}};
}

/// visit(input element, output element, weight) for every pair that the forward map connects.
template <class Visit>
void for_each_weight(const ResampleShape& s, Visit&& visit) {
  std::int64_t out = 0;
  for (int n = 0; n < s.n; ++n)
    for (int od = 0; od < s.out_d; ++od)
      for (int oh = 0; oh < s.out_h; ++oh)
        for (int ow = 0; ow < s.out_w; ++ow)
          for (int c = 0; c < s.c; ++c, ++out) {
            const Neighbours d = neighbours(s.mode, od, s.d, s.out_d);
            const Neighbours h = neighbours(s.mode, oh, s.h, s.out_h);
            const Neighbours w = neighbours(s.mode, ow, s.w, s.out_w);
            for (int corner = 0; corner < 8; ++corner) {
              const int i = corner / 4, j = corner / 2 % 2, k = corner % 2;
              const double weight = d.weight[i] * h.weight[j] * w.weight[k];
              const std::int64_t row = (std::int64_t{n} * s.d + d.index[i]) * s.h + h.index[j];
              if (weight != 0) visit((row * s.w + w.index[k]) * s.c + c, out, weight);
            }
          }
}

}  // namespace

void run(Reference, const ResampleForward& op) {
  const ResampleShape& s = op.shape;
  const auto* x = static_cast<const double*>(op.x);
  auto* y = static_cast<double*>(op.y);
  const int channels = op.skip_channels + s.c;
  const std::int64_t pixels = std::int64_t{s.n} * s.out_d * s.out_h * s.out_w;
  std::fill(y, y + pixels * channels, 0.0);
  for (std::int64_t i = 0; i < pixels * op.skip_channels; ++i)
    y[i / op.skip_channels * channels + i % op.skip_channels] =
        static_cast<const double*>(op.skip)[i];
  for_each_weight(s, [&](std::int64_t in, std::int64_t out, double weight) {
    y[out / s.c * channels + op.skip_channels + out % s.c] += weight * x[in];
  });
}

void run(Reference, const ResampleBackward& op) {
  const ResampleShape& s = op.shape;
  const auto* dy = static_cast<const double*>(op.dy);
  auto* dx = static_cast<double*>(op.dx);
  std::fill(dx, dx + std::int64_t{s.n} * s.d * s.h * s.w * s.c, 0.0);
  for_each_weight(
      s, [=](std::int64_t in, std::int64_t out, double weight) { dx[in] += weight * dy[out]; });
}

}  // namespace anaphase::kernels
