// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>

#include "kernels/activation/activation.hpp"
#include "kernels/conv/conv.hpp"

namespace anaphase::kernels {
namespace {

/// Visits every product of the convolution: visit(y, x, weight, c_out) with the index of the output
/// element, of the input element and of the weight, for all taps that fall inside the input.
template <class Visit>
void for_each_product(const ConvShape& s, Visit&& visit) {
  std::int64_t y = 0;
  for (int n = 0; n < s.n; ++n)
    for (int od = 0; od < s.out_d(); ++od)
      for (int oh = 0; oh < s.out_h(); ++oh)
        for (int ow = 0; ow < s.out_w(); ++ow)
          for (int co = 0; co < s.c_out; ++co, ++y)
            for (int kd = 0; kd < s.kernel_d; ++kd)
              for (int kh = 0; kh < s.kernel_h; ++kh)
                for (int kw = 0; kw < s.kernel_w; ++kw) {
                  const int d = od * s.stride_d - s.pad_d + kd;
                  const int h = oh * s.stride_h - s.pad_h + kh;
                  const int w = ow * s.stride_w - s.pad_w + kw;
                  const bool inside = d >= 0 && d < s.d && h >= 0 && h < s.h && w >= 0 && w < s.w;
                  if (!inside) continue;
                  const std::int64_t x = (((std::int64_t{n} * s.d + d) * s.h + h) * s.w + w);
                  const std::int64_t tap =
                      ((std::int64_t{co} * s.kernel_d + kd) * s.kernel_h + kh) * s.kernel_w + kw;
                  for (int ci = 0; ci < s.c_in; ++ci) visit(y, x * s.c_in + ci, tap * s.c_in + ci);
                }
}

std::int64_t pixels_in(const ConvShape& s) {
  return std::int64_t{s.n} * s.d * s.h * s.w;
}

std::int64_t pixels_out(const ConvShape& s) {
  return std::int64_t{s.n} * s.out_d() * s.out_h() * s.out_w();
}

}  // namespace

void run(Reference, const ConvForward& op) {
  const auto* x = static_cast<const double*>(op.x);
  const auto* weight = static_cast<const double*>(op.weight);
  const auto* bias = static_cast<const double*>(op.bias);
  const auto* residual = static_cast<const double*>(op.residual);
  auto* y = static_cast<double*>(op.y);
  const int channels = op.shape.c_out;
  const std::int64_t count = pixels_out(op.shape) * channels;
  for (std::int64_t i = 0; i < count; ++i)
    y[i] = (bias ? bias[i % channels] : 0) + (residual ? residual[i] : 0);
  for_each_product(op.shape, [&](std::int64_t iy, std::int64_t ix, std::int64_t iw) {
    y[iy] += x[ix] * weight[iw];
  });
  run(Reference{}, ActivationForward{.count = count,
                                     .type = DType::f64,
                                     .activation = op.activation,
                                     .slope = op.slope,
                                     .x = y,
                                     .y = y});
}

void run(Reference, const ConvInputGradient& op) {
  const auto* dy = static_cast<const double*>(op.dy);
  const auto* weight = static_cast<const double*>(op.weight);
  auto* dx = static_cast<double*>(op.dx);
  std::fill_n(dx, pixels_in(op.shape) * op.shape.c_in, 0.0);
  for_each_product(op.shape, [&](std::int64_t iy, std::int64_t ix, std::int64_t iw) {
    dx[ix] += dy[iy] * weight[iw];
  });
}

void run(Reference, const ConvWeightGradient& op) {
  const ConvShape& s = op.shape;
  const auto* x = static_cast<const double*>(op.x);
  const auto* dy = static_cast<const double*>(op.dy);
  auto* dweight = static_cast<double*>(op.dweight);
  auto* dbias = static_cast<double*>(op.dbias);
  std::fill_n(dweight, std::int64_t{s.c_out} * s.kernel_d * s.kernel_h * s.kernel_w * s.c_in, 0.0);
  for_each_product(
      s, [&](std::int64_t iy, std::int64_t ix, std::int64_t iw) { dweight[iw] += dy[iy] * x[ix]; });
  if (!dbias) return;
  std::fill_n(dbias, s.c_out, 0.0);
  for (std::int64_t i = 0; i < pixels_out(s) * s.c_out; ++i) dbias[i % s.c_out] += dy[i];
}

}  // namespace anaphase::kernels
