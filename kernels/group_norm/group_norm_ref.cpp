// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm.hpp"

#include <cmath>
#include <vector>

namespace anaphase::kernels {
namespace {

double activate(Activation activation, double u) {
  return activation == Activation::silu ? u / (1 + std::exp(-u)) : u;
}

double activation_slope(Activation activation, double u) {
  if (activation != Activation::silu) return 1;
  const double s = 1 / (1 + std::exp(-u));
  return s + u * s * (1 - s);
}

/// 1 + scale and shift of sample s and channel c.
struct ScaleShift {
  double scale = 1, shift = 0;
  ScaleShift(const void* scale_shift, int channels, int s, int c) {
    if (!scale_shift) return;
    const auto* of_sample =
        static_cast<const double*>(scale_shift) + std::int64_t{2} * s * channels;
    scale += of_sample[c];
    shift = of_sample[channels + c];
  }
};

}  // namespace

void run(Reference, const GroupNormForward& op) {
  const int n = op.shape.n, channels = op.shape.channels, groups = op.shape.groups;
  const std::int64_t pixels = op.shape.pixels;
  const int members = channels / groups;
  const auto* x = static_cast<const double*>(op.x);
  const auto* gamma = static_cast<const double*>(op.gamma);
  const auto* beta = static_cast<const double*>(op.beta);
  auto* y = static_cast<double*>(op.y);
  for (int s = 0; s < n; ++s) {
    for (int g = 0; g < groups; ++g) {
      const auto for_each_element = [&](auto&& body) {
        for (std::int64_t p = 0; p < pixels; ++p)
          for (int c = g * members; c < (g + 1) * members; ++c)
            body((s * pixels + p) * channels + c, c);
      };
      const auto count = static_cast<double>(pixels * members);
      double mean = 0, variance = 0;
      for_each_element([&](std::int64_t i, int) { mean += x[i]; });
      mean /= count;
      for_each_element([&](std::int64_t i, int) { variance += (x[i] - mean) * (x[i] - mean); });
      variance /= count;
      const double rstd = 1 / std::sqrt(variance + static_cast<double>(op.epsilon));
      for_each_element([&](std::int64_t i, int c) {
        const ScaleShift with(op.scale_shift, channels, s, c);
        const double z = (x[i] - mean) * rstd * gamma[c] + beta[c];
        y[i] = activate(op.activation, z * with.scale + with.shift);
      });
      static_cast<double*>(op.mean)[s * groups + g] = mean;
      static_cast<double*>(op.rstd)[s * groups + g] = rstd;
    }
  }
}

void run(Reference, const GroupNormBackward& op) {
  const int n = op.shape.n, channels = op.shape.channels, groups = op.shape.groups;
  const std::int64_t pixels = op.shape.pixels;
  const int members = channels / groups;
  const auto* x = static_cast<const double*>(op.x);
  const auto* gamma = static_cast<const double*>(op.gamma);
  const auto* beta = static_cast<const double*>(op.beta);
  const auto* dy = static_cast<const double*>(op.dy);
  auto* dx = static_cast<double*>(op.dx);
  std::vector<double> dgamma(channels), dbeta(channels);
  for (int s = 0; s < n; ++s) {
    for (int g = 0; g < groups; ++g) {
      const double mean = static_cast<const double*>(op.mean)[s * groups + g];
      const double rstd = static_cast<const double*>(op.rstd)[s * groups + g];
      const auto count = static_cast<double>(pixels * members);
      // Each element's normalised value and gradient at the activation's argument, by the chain
      // rule.
      const auto for_each_element = [&](auto&& body) {
        for (std::int64_t p = 0; p < pixels; ++p)
          for (int c = g * members; c < (g + 1) * members; ++c) {
            const std::int64_t i = (s * pixels + p) * channels + c;
            const ScaleShift with(op.scale_shift, channels, s, c);
            const double normal = (x[i] - mean) * rstd;
            const double z = normal * gamma[c] + beta[c];
            const double u = z * with.scale + with.shift;
            body(i, c, normal, dy[i] * activation_slope(op.activation, u), with.scale);
          }
      };
      std::vector<double> dscale(channels), dshift(channels);
      double mean_dn = 0, mean_dn_normal = 0;  // of the gradient of the normalised value
      for_each_element([&](std::int64_t, int c, double normal, double du, double scale) {
        dshift[c] += du;
        dscale[c] += du * (normal * gamma[c] + beta[c]);
        dbeta[c] += du * scale;
        dgamma[c] += du * scale * normal;
        mean_dn += du * scale * gamma[c] / count;
        mean_dn_normal += du * scale * gamma[c] * normal / count;
      });
      for_each_element([&](std::int64_t i, int c, double normal, double du, double scale) {
        dx[i] = rstd * (du * scale * gamma[c] - mean_dn - normal * mean_dn_normal);
      });
      if (op.dscale_shift) {
        auto* out = static_cast<double*>(op.dscale_shift) + std::int64_t{2} * s * channels;
        for (int c = g * members; c < (g + 1) * members; ++c) {
          out[c] = dscale[c];
          out[channels + c] = dshift[c];
        }
      }
    }
  }
  for (int c = 0; c < channels; ++c) {
    static_cast<double*>(op.dgamma)[c] = dgamma[c];
    static_cast<double*>(op.dbeta)[c] = dbeta[c];
  }
}

}  // namespace anaphase::kernels
