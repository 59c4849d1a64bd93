// SPDX-License-Identifier: Apache-2.0
#include "kernels/diffusion/diffusion.hpp"

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"
#include "kernels/random/random.hpp"

namespace anaphase::engine {

Tensor random_timesteps(Tape& tape, const Tensor& keys, std::uint32_t draw, std::int32_t low,
                        std::int32_t high) {
  check(low < high, "random_timesteps", "the range [{}, {}) is empty", low, high);
  const Tensor t = tape.allocate(keys.shape(), DType::i32);
  tape.launch("random_integer", {keys}, {t}, [=] {
    return kernels::RandomInteger{static_cast<int>(keys.count()), low,  high,
                                  keys.as<std::uint64_t>(),       draw, t.as<std::int32_t>()};
  });
  return t;
}

Tensor random_normal(Tape& tape, const Tensor& keys, std::uint32_t draw, const Shape& shape,
                     DType type) {
  check_shape(keys, {shape.front()}, "random_normal", "keys");
  const Tensor y = tape.allocate(shape, type);
  tape.launch("random_normal", {keys}, {y}, [=] {
    return kernels::RandomNormal{static_cast<int>(y.dim(0)), per_sample(y), type,
                                 keys.as<std::uint64_t>(),   draw,          y.data()};
  });
  return y;
}

Noised forward_noise(Tape& tape, const Tensor& x, const Tensor& t, const Tensor& alpha_bar,
                     const Tensor& keys, std::uint32_t draw) {
  check_shape(t, {x.dim(0)}, "forward_noise", "t");
  check_shape(keys, {x.dim(0)}, "forward_noise", "keys");
  const int n = static_cast<int>(x.dim(0));
  const Noised result{tape.allocate_like(x), tape.allocate_like(x)};
  tape.launch("forward_noise", {x, t, alpha_bar, keys}, {result.x_t, result.noise}, [=] {
    return kernels::ForwardNoise{.n = n,
                                 .per_sample = per_sample(x),
                                 .type = x.type(),
                                 .x = x.data(),
                                 .t = t.as<std::int32_t>(),
                                 .alpha_bar = alpha_bar.data(),
                                 .keys = keys.as<std::uint64_t>(),
                                 .draw = draw,
                                 .x_t = result.x_t.data(),
                                 .noise = result.noise.data()};
  });
  tape.record({x}, result.x_t, [=, &tape](const Tensor& dx_t) -> std::vector<Tensor> {
    const Tensor dx = tape.allocate_like(x);
    tape.launch("forward_noise_backward", {t, alpha_bar, dx_t}, {dx}, [=] {
      return kernels::ForwardNoiseBackward{
          n,           per_sample(x), x.type(), t.as<std::int32_t>(), alpha_bar.data(),
          dx_t.data(), dx.data()};
    });
    return {dx};
  });
  return result;
}

Tensor predict_clean(Tape& tape, const Tensor& x_t, const Tensor& noise, const Tensor& t,
                     const Tensor& alpha_bar, float low, float high) {
  check_tensor(noise, x_t.shape(), x_t.type(), "predict_clean", "noise");
  check_shape(t, {x_t.dim(0)}, "predict_clean", "t");
  const Tensor x0 = tape.allocate_like(x_t);
  tape.launch("predict_clean", {x_t, noise, t, alpha_bar}, {x0}, [=] {
    return kernels::PredictClean{.n = static_cast<int>(x_t.dim(0)),
                                 .per_sample = per_sample(x_t),
                                 .type = x_t.type(),
                                 .low = low,
                                 .high = high,
                                 .t = t.as<std::int32_t>(),
                                 .alpha_bar = alpha_bar.data(),
                                 .x_t = x_t.data(),
                                 .noise = noise.data(),
                                 .x0 = x0.data()};
  });
  return x0;
}

void next_step(Tape& tape, const ReverseProcess& process) {
  tape.launch("next_step", {process.timesteps, process.step}, {process.step, process.t}, [=] {
    return kernels::NextStep{.n = static_cast<int>(process.t.count()),
                             .timesteps = process.timesteps.as<std::int32_t>(),
                             .step = process.step.as<std::int32_t>(),
                             .t = process.t.as<std::int32_t>()};
  });
}

Reversed reverse_step(Tape& tape, const Tensor& x_t, const Tensor& prediction,
                      const Tensor& x0_before, const ReverseProcess& process, const Tensor& keys,
                      std::uint32_t draw, float low, float high) {
  check_tensor(prediction, x_t.shape(), x_t.type(), "reverse_step", "prediction");
  if (x0_before) check_tensor(x0_before, x_t.shape(), x_t.type(), "reverse_step", "x0_before");
  check_shape(process.coefficients,
              {process.timesteps.count(), kernels::ReverseStepCoefficients::count}, "reverse_step",
              "coefficients");
  check_shape(keys, {x_t.dim(0)}, "reverse_step", "keys");
  const Reversed result{tape.allocate_like(x_t), tape.allocate_like(x_t)};
  tape.launch("reverse_step",
              {x_t, prediction, x0_before, process.coefficients, process.step, keys},
              {result.x_prev, result.x0}, [=] {
                return kernels::ReverseStep{.n = static_cast<int>(x_t.dim(0)),
                                            .per_sample = per_sample(x_t),
                                            .type = x_t.type(),
                                            .low = low,
                                            .high = high,
                                            .coefficients = process.coefficients.data(),
                                            .step = process.step.as<std::int32_t>(),
                                            .x_t = x_t.data(),
                                            .prediction = prediction.data(),
                                            .x0_before = x0_before.data(),
                                            .keys = keys.as<std::uint64_t>(),
                                            .draw = draw,
                                            .x_prev = result.x_prev.data(),
                                            .x0 = result.x0.data()};
              });
  return result;
}

Tensor timestep_embedding(Tape& tape, const Tensor& t, int channels, DType type) {
  const Tensor y = tape.allocate({t.count(), channels}, type);
  tape.launch("timestep_embedding", {t}, {y}, [=] {
    return kernels::TimestepEmbedding{static_cast<int>(t.count()), channels, type,
                                      t.as<std::int32_t>(), y.data()};
  });
  return y;
}

}  // namespace anaphase::engine
