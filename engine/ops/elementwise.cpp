// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise.hpp"

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"
#include "kernels/activation/activation.hpp"
#include "kernels/dropout/dropout.hpp"

namespace anaphase::engine {

Tensor activate(Tape& tape, const Tensor& x, Activation activation, float slope) {
  const DType type = x.type();
  const Tensor y = tape.allocate_like(x);
  tape.launch("activation_forward", {x}, {y}, [=] {
    return kernels::ActivationForward{x.count(), type, activation, slope, x.data(), y.data()};
  });
  tape.record({x}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Tensor dx = tape.allocate_like(x);
    tape.launch("activation_backward", {x, dy}, {dx}, [=] {
      return kernels::ActivationBackward{x.count(), type,      activation, slope,
                                         x.data(),  dy.data(), dx.data()};
    });
    return {dx};
  });
  return y;
}

Tensor dropout(Tape& tape, const Tensor& x, float rate, const Tensor& keys, std::uint32_t draw) {
  check(rate >= 0 && rate < 1, "dropout", "rate is {}, expected a number in [0, 1)", rate);
  check_shape(keys, {x.dim(0)}, "dropout", "keys");
  const auto apply = [=, &tape](const Tensor& from) {
    const Tensor to = tape.allocate_like(from);
    tape.launch("dropout", {from, keys}, {to}, [=] {
      return kernels::Dropout{.n = static_cast<int>(from.dim(0)),
                              .per_sample = per_sample(from),
                              .type = from.type(),
                              .rate = rate,
                              .keys = keys.as<std::uint64_t>(),
                              .draw = draw,
                              .x = from.data(),
                              .y = to.data()};
    });
    return to;
  };
  const Tensor y = apply(x);
  tape.record({x}, y, [=](const Tensor& dy) -> std::vector<Tensor> { return {apply(dy)}; });
  return y;
}

Tensor add_scaled(Tape& tape, const Tensor& a, const Tensor& b, double alpha, double beta,
                  const Tensor& factor) {
  if (b) check_tensor(b, a.shape(), a.type(), "add_scaled", "b");
  if (factor) check_shape(factor, {1}, "add_scaled", "factor");
  const DType type = a.type();
  const auto apply = [=, &tape](const Tensor& from_a, const Tensor& from_b, double weight_a,
                                double weight_b) {
    const Tensor to = tape.allocate_like(from_a);
    tape.launch("add_scaled", {from_a, from_b, factor}, {to}, [=] {
      return kernels::AddScaled{.count = to.count(),
                                .type = type,
                                .a = from_a.data(),
                                .b = from_b.data(),
                                .alpha = weight_a,
                                .beta = weight_b,
                                .factor = factor.data(),
                                .y = to.data()};
    });
    return to;
  };
  const Tensor y = apply(a, b, alpha, beta);
  tape.record({a, b}, y, [=](const Tensor& dy) -> std::vector<Tensor> {
    const auto scaled = [&](const Tensor& input, double weight) {
      if (!input.needs_gradient()) return Tensor{};
      return weight == 1 && !factor ? dy : apply(dy, {}, weight, 0);
    };
    return {scaled(a, alpha), scaled(b, beta)};
  });
  return y;
}

Tensor add_per_sample(Tape& tape, const Tensor& x, const Tensor& v) {
  const std::int64_t n = x.dim(0), channels = x.dim(-1);
  check_tensor(v, {n, channels}, x.type(), "add_per_sample", "v");
  const std::int64_t pixels = per_sample(x) / channels;
  const DType type = x.type();
  const Tensor y = tape.allocate_like(x);
  tape.launch("add_per_sample", {x, v}, {y}, [=] {
    return kernels::AddPerSample{.n = static_cast<int>(n),
                                 .pixels = pixels,
                                 .channels = static_cast<int>(channels),
                                 .type = type,
                                 .x = x.data(),
                                 .v = v.data(),
                                 .y = y.data()};
  });
  tape.record({x, v}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Tensor dv = tape.allocate_like(v);
    tape.launch("sum_per_sample", {dy}, {dv}, [=] {
      return kernels::SumPerSample{.n = static_cast<int>(n),
                                   .pixels = pixels,
                                   .channels = static_cast<int>(channels),
                                   .type = type,
                                   .x = dy.data(),
                                   .v = dv.data()};
    });
    return {dy, dv};
  });
  return y;
}

Tensor cast(Tape& tape, const Tensor& x, DType type) {
  if (x.type() == type) return x;
  const auto apply = [&tape](const Tensor& from, DType to_type) {
    const Tensor to = tape.allocate(from.shape(), to_type);
    tape.launch("cast", {from}, {to}, [=] {
      return kernels::Cast{from.count(), from.type(), to_type, from.data(), to.data()};
    });
    return to;
  };
  const Tensor y = apply(x, type);
  tape.record({x}, y, [=, from = x.type()](const Tensor& dy) -> std::vector<Tensor> {
    return {apply(dy, from)};
  });
  return y;
}

}  // namespace anaphase::engine
