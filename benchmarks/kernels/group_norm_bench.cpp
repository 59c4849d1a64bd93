// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm.hpp"

#include <fmt/format.h>

#include "benchmarks/kernels/bench.hpp"

namespace anaphase::bench {
namespace {

using namespace kernels;

void add_shape(const GroupNormShape& shape, DType type) {
  const auto name = [&](const char* direction) {
    return fmt::format("group_norm_silu_{}/{}/n{}/{}x{}", direction, name_of(type), shape.n,
                       shape.pixels, shape.channels);
  };
  const std::int64_t count = shape.n * shape.pixels * shape.channels;
  const std::int64_t groups = std::int64_t{1} * shape.n * shape.groups;
  add(name("forward"), [=](benchmark::State& state) {
    const Buffer x(type, count), y(type, count), gamma(DType::f32, shape.channels),
        beta(DType::f32, shape.channels), mean(DType::f32, groups), rstd(DType::f32, groups);
    measure(state,
            GroupNormForward{.shape = shape,
                             .type = type,
                             .x = x.get(),
                             .gamma = gamma.get(),
                             .beta = beta.get(),
                             .activation = Activation::silu,
                             .y = y.get(),
                             .mean = mean.get(),
                             .rstd = rstd.get()},
            x.bytes() + y.bytes(), 0);
  });
  add(name("backward"), [=](benchmark::State& state) {
    const Buffer x(type, count), dy(type, count), dx(type, count),
        gamma(DType::f32, shape.channels), beta(DType::f32, shape.channels),
        mean(DType::f32, groups), rstd(DType::f32, groups), dgamma(DType::f32, shape.channels),
        dbeta(DType::f32, shape.channels);
    measure(state,
            GroupNormBackward{.shape = shape,
                              .type = type,
                              .x = x.get(),
                              .gamma = gamma.get(),
                              .beta = beta.get(),
                              .activation = Activation::silu,
                              .mean = mean.get(),
                              .rstd = rstd.get(),
                              .dy = dy.get(),
                              .dx = dx.get(),
                              .dgamma = dgamma.get(),
                              .dbeta = dbeta.get()},
            x.bytes() + dy.bytes() + dx.bytes(), 0);
  });
}

}  // namespace

void add_group_norm() {
  for (const DType type : types())
    for (const int channels : {16, 64, 128})
      add_shape({.n = 4,
                 .pixels = std::int64_t{128} * 128 * 16 * 16 / channels / channels,
                 .channels = channels,
                 .groups = 8},
                type);
}

}  // namespace anaphase::bench
