// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/ceilings.hpp"

#include <algorithm>

#include "apps/bench/bench.hpp"
#include "engine/ops/ops.hpp"
#include "engine/program.hpp"
#include "engine/stream.hpp"

namespace anaphase::apps::bench {
namespace {

using engine::DType;
using engine::Tensor;

constexpr int warm_ups = 2, attempts = 6;

double best_seconds(const engine::Device& device, engine::Program program) {
  for (int i = 0; i < warm_ups; ++i) program.replay();
  engine::Event start(device.stream()), end(device.stream());
  double best = 0;
  for (int i = 0; i < attempts; ++i) {
    start.record();
    program.replay();
    end.record();
    end.wait();
    const double seconds = end.seconds_since(start);
    best = i == 0 ? seconds : std::min(best, seconds);
  }
  return best;
}

engine::Program matrix_product(const engine::Device& device, DType type) {
  constexpr std::int64_t n = 2048;
  const Tensor x = engine::make_tensor(device, {n, n}, type);
  const Tensor weight = engine::make_tensor(device, {n, n}, type);
  engine::upload(x, made_up_pixels(n * n));
  engine::upload(weight, made_up_pixels(n * n));
  engine::Trace trace(device);
  engine::Tape tape(trace, engine::Tape::Mode::infer);
  return trace.finish({engine::linear(tape, x, weight, {})});
}

engine::Program triad(const engine::Device& device, DType type) {
  const auto count = static_cast<std::int64_t>((std::size_t{128} << 20) / kernels::size_of(type));
  const Tensor a = engine::make_tensor(device, {count}, type);
  const Tensor b = engine::make_tensor(device, {count}, type);
  engine::Trace trace(device);
  engine::Tape tape(trace, engine::Tape::Mode::infer);
  return trace.finish({engine::add_scaled(tape, a, b, 1, 2)});
}

}  // namespace

std::optional<Ceilings> measure_ceilings(const engine::Device& device, DType type) {
  if (device.stream().kind == kernels::DeviceKind::simt) return std::nullopt;
  engine::Program product = matrix_product(device, type);
  const double flops = product.calls().front().flops;
  engine::Program stream = triad(device, type);
  const double bytes = stream.calls().front().bytes;
  return Ceilings{flops / best_seconds(device, std::move(product)),
                  bytes / best_seconds(device, std::move(stream))};
}

}  // namespace anaphase::apps::bench
